"""What people set in a space of mechanisms that cannot be answered, or not as they mean it, and what is said.

`REFUSED` and `TOLD` change the space in `SPACE` by `--set`: assignments, and a message. What is refused ends with
status 2 and one line, in which `SET` stands for the last assignment; what is told is a line of the plan.
"""

SPACE = """\
study: base
question: Is it better?
data: {name: digits}
model: {name: vit_micro, patch_size: 2, depth: 2, weight_init: jax}
attention: {basis: fourier, grid_size: 3, rank: 12}
training: {recipe: quick, epochs: 15}
reference: {attention.mechanism: softmax}
factors:
  attention.mechanism: [softmax, karat, static]
tuned:
  training.learning_rate: {low: 1e-3, high: 2e-2, log: true}
search: {sampler: tpe, trials: 12}
confirm: {by: arm, seeds: 4}
"""
STATIC = ("attention={rank: 12}", "factors.attention.mechanism=[softmax, static]")
NOT_SOFTMAX = (
    "factors.attention.mechanism=[karat, static]",
    "reference={attention.mechanism: static}",
)
UNLIKE = (
    "softmax does not have it and keeps queries and keys, so that karat would differ from it in more than the "
    "factors; make it a factor, `attention.content: [true, false]`, which exists where a mechanism has it, or use "
    "only mechanisms that have it"
)
TOO_LONG = "If epochs are meant, [1, 2] trains for 15 and for 30; if not, raise training.epochs"
CLAIM = (
    "did you mean 'tunings'? Known: alpha, budgets, by, seeds, shortlist, shortlist_seeds, smallest_difference, "
    "top_up, tunings, weights. What verdicts are about follows from confirm.tunings: with 1 the cells that one "
    "search found, with more the arms"
)
NO_EPOCH = "leaves no epoch to compare trials at: they have 15 epochs, so it must be at most"
ALONE = "no arm but the reference can run:"
WRITE = "must name levels of the factors; write {attention.mechanism: softmax}"

# fmt: off
REFUSED: tuple[tuple[tuple[str, ...], str], ...] = (
    # arms that differ in more than the factors
    (("attention.content=false",), f"SET: attention.content = false: {UNLIKE}"),
    (("factors.attention.mechanism=[karat, softmax]", "reference={attention.mechanism: karat}", "attention.content=false"), f"SET: attention.content = false: {UNLIKE}"),
    (("tuned.attention.content={values: [true, false]}",), f"SET: tuned.attention.content: {UNLIKE}"),
    (("factors.attention.content=[true, false]",), "SET: factors.attention.content: false has no effect with static, which reads neither queries nor keys; add `when: {attention.mechanism: [karat]}`"),
    ((*STATIC, "attention.content=false"), "SET: attention.content: false has no effect with static, which reads neither queries nor keys; leave it out"),
    (("attention.content=no",), "SET: attention.content = 'no': must be true or false; write false"),
    # no arm but the reference
    (("attention.rank=100",), f"SET: {ALONE} attention.rank = 100 is above the 17 tokens of this model; rank: full is the operator of full rank"),
    (("confirm.by=attention.mechanism", "attention.rank=100"), f"SET: {ALONE} attention.rank = 100 is above the 17 tokens"),
    ((*STATIC, "attention.rank=100"), f"SET: {ALONE} attention.rank = 100 is above the 17 tokens"),
    (("factors.attention.mechanism=[softmax, static]", "attention={rank: 100}"), f"SET: {ALONE} attention.rank = 100 is above the 17 tokens"),
    (("attention.heads=[9]",), f"SET: {ALONE} attention.heads: 9 does not exist; the 3 heads are numbered from 0"),
    (("attention.rank=100", "reference={attention.mechanism: karat}"), "SET: reference: must match an arm; no arm has all these levels; karat does not run: attention.rank = 100 is above the 17 tokens"),
    # the reference
    (("reference={}",), f"SET: reference = {{}}: {WRITE}"),
    (("reference=null",), f"SET: reference = null: {WRITE}"),
    (("reference=softmax",), f"SET: reference = 'softmax': {WRITE}"),
    (("reference=static",), "SET: reference = 'static': must name levels of the factors; write {attention.mechanism: static}"),
    (("reference=[softmax]",), f"SET: reference = ['softmax']: {WRITE}"),
    (("reference={attention.mechanism: [softmax]}",), "SET: reference.attention.mechanism = ['softmax']: is not a level of this factor. did you mean 'softmax'?"),
    (("factors={}",), "SET: factors = {}: must have at least one factor; write attention.mechanism: [softmax, karat]"),
    # items of lists, and keys below new ones, are of the option that has set them
    (("confirm.budgets=[1.5, 2]",), "SET: confirm.budgets[0] = 1.5: must be a whole number"),
    (("confirm.budgets=[true, 2]",), "SET: confirm.budgets[0] = true: must be a whole number"),
    (("confirm.budgets=[1, [2]]",), "SET: confirm.budgets[1] = [2]: must be a whole number; write one number, not a list"),
    (("confirm.budgets=[1, null]",), "SET: confirm.budgets[1]: is empty; it must be a whole number"),
    (("confirm.budgets=['1', 2]",), "SET: confirm.budgets[0] = '1': must be a whole number; write 1 without quotes"),
    (("attention.blocks=[a]",), "SET: attention.blocks[0] = 'a': must be a whole number"),
    (("confirm.budgets.0=1",), "SET: confirm.budgets = {0: 1}: must be a list"),
    (("confirm.top_up.most.x=1",), "SET: confirm.top_up.most = {x: 1}: must be a whole number"),
    # rules of early stopping that could stop no trial
    (("early_stopping.scheduler=hyperband", "early_stopping.reduction_factor=100"), f"SET: early_stopping.reduction_factor = 100.0: {NO_EPOCH} 15 (epochs / grace_epochs)"),
    (("early_stopping={scheduler: hyperband, reduction_factor: 20, grace_epochs: 15}",), f"early_stopping.reduction_factor = 20.0: {NO_EPOCH} 15, with grace_epochs: 1"),
    (("early_stopping={scheduler: hyperband, grace_epochs: 14}",), f"SET: early_stopping.grace_epochs = 14: {NO_EPOCH} 5 (epochs / reduction_factor)"),
    (("training.epochs=1", "early_stopping.scheduler=hyperband"), "SET: early_stopping.scheduler = 'hyperband': needs trials of at least 2 epochs; these have 1. Otherwise use none"),
    (("training.epochs=1", "early_stopping.scheduler=one_epoch"), "SET: early_stopping.scheduler = 'one_epoch': needs trials of at least 2 epochs; these have 1. Otherwise use none"),
    (("training.epochs=1", "early_stopping={scheduler: asha, grace_epochs: 2}"), "SET: early_stopping.grace_epochs = 2: no trial would be stopped, since trials have 1 epoch; use scheduler: none"),
    (("search.trials=3", "early_stopping.scheduler=median"), "SET: early_stopping.scheduler = 'median': compares the trials of an arm, and an arm has 1. Use more search.trials, or none"),
    (("search.trials=3", "early_stopping.scheduler=one_epoch"), "SET: early_stopping.scheduler = 'one_epoch': compares the trials of an arm, and an arm has 1"),
    (("search.trials=6", "early_stopping.scheduler=median"), "SET: early_stopping.min_trials = 3: no trial would be stopped: an arm has 2 trials; must be below that"),
    (("early_stopping=[]",), "SET: early_stopping = []: must contain `key: value` lines; write {scheduler: none}"),
    (("search=[]",), "SET: search = []: must contain `key: value` lines"),
    # lengths of training in epochs
    (("confirm.budgets=[1, 15]",), f"SET: confirm.budgets = [1, 15]: are multiples of the epochs, here 15: 15 would train for 225. {TOO_LONG}"),
    (("confirm.budgets=[1, 30]",), f"SET: confirm.budgets = [1, 30]: are multiples of the epochs, here 15: 30 would train for 450. {TOO_LONG}"),
    (("training.epochs=4", "confirm.budgets=[1, 10]"), "SET: confirm.budgets = [1, 10]: are multiples of the epochs, here 4: 10 would train for 40"),
    (("confirm.budgets=[1, 200]",), "SET: confirm.budgets = [1, 200]: must be at most 100 times the epochs"),
    # what a verdict is about
    (("confirm.claim=cell",), f"SET: confirm.claim: unknown key. {CLAIM}"),
    (("confirm.claim=arm",), f"SET: confirm.claim: unknown key. {CLAIM}"),
    (("claim=arm",), "SET: unknown key 'claim'. did you mean 'confirm.tunings'?"),
    # values of other types
    (("confirm.budgets=null",), "SET: confirm.budgets: is empty; it must be a list"),
    (("confirm.budgets=all",), "SET: confirm.budgets = 'all': must be a list"),
    (("confirm.budgets=1,2",), "SET: confirm.budgets = '1,2': must be a list; write [1,2]"),
    (("confirm.budgets='[1, 2]'",), "SET: confirm.budgets = '[1, 2]': must be a list; write [1, 2] without quotes"),
    (("confirm.budgets={a: 1}",), "SET: confirm.budgets = {a: 1}: must be a list"),
    (("confirm.by=[arm]",), "SET: confirm.by = ['arm']: must be text; write arm"),
    (("confirm.by=true",), "SET: confirm.by = true: must be text"),
    (("confirm.seeds=[null]",), "SET: confirm.seeds = [null]: must be a whole number; write one number, not a list"),
    (("confirm.seeds={a: true}",), "SET: confirm.seeds = {a: true}: must be a whole number"),
    (("confirm.tunings=arm",), "SET: confirm.tunings = 'arm': must be a whole number"),
    (("confirm.alpha=null",), "SET: confirm.alpha: is empty; it must be a number"),
    (("confirm.weights=[last]",), "SET: confirm.weights = ['last']: must be one of these. did you mean 'last'?"),
    (("confirm.top_up=false",), "SET: confirm.top_up = false: must be a mapping, as in {most: ..., step: ...}; for none omit it"),
    (("confirm.top_up=[{most: 8}]",), "SET: confirm.top_up = [{most: 8}]: must be a mapping, as in {most: ..., step: ...}"),
    (("confirm.top_up={most: null}",), "SET: confirm.top_up.most: is empty; it must be a whole number"),
    (("confirm.top_up={max: 8}",), "SET: confirm.top_up.max: unknown key. did you mean 'most'? Known: most, step"),
    (("data.name=image_folder", "data.root=/nowhere"), "SET: data: /nowhere: there is no such folder"),
    (("confirm.shortlist=true",), "SET: confirm.shortlist = true: must be a whole number"),
    (("confirm=[{seeds: 4}]",), "SET: confirm = [{seeds: 4}]: must contain `key: value` lines"),
    (("attention.rank=null",), "SET: attention.rank: is empty; it must be a whole number, or one of these. Known: full"),
)

TOLD: tuple[tuple[tuple[str, ...], str], ...] = (
    (("early_stopping.scheduler=none", "early_stopping.audit_share=0.5"), "stopping early_stopping.scheduler: none has no use for audit_share"),
    (("early_stopping={scheduler: none, keep: 2, grace_epochs: 3, audit_share: 1}",), "stopping early_stopping.scheduler: none has no use for keep, grace_epochs and audit_share"),
    (("early_stopping.scheduler=one_epoch", "early_stopping.audit_share=1"), "stopping after one epoch of all trials of an arm the best 2 go on early_stopping.audit_share: 1 finishes every trial that the rule would stop: it shows what stopping would cost, and saves nothing"),
    (("early_stopping={scheduler: asha, audit_share: 0.5}",), "early_stopping.audit_share: 0.5 finishes 50 % of the trials that the rule would stop, to show what stopping costs"),
    (("early_stopping.scheduler=asha", "training.epochs=1"), "stopping no trial is stopped, since trials have 1 epoch"),
    (("early_stopping.scheduler=asha", "search.trials=3"), "stopping no trial is stopped, since each arm has 1 trial"),
    (("confirm.budgets=[1, 2]",), "4 fresh seeds x 1 and 2 times the epochs (15 and 30)"),
)

# What is not refused: everything else is there as in an arm of softmax, every arm has it, or a label says it.
ACCEPTED: tuple[tuple[str, ...], ...] = (
    ("attention.content=true",),
    ("attention.blocks=early",),
    ("attention.heads=[0]",),
    ("attention.gated_blocks=true",),
    (*NOT_SOFTMAX, "attention.content=false"),
    ("factors.attention.content={values: [true, false], when: {attention.mechanism: karat}}",),
    ("factors.attention.mechanism=[softmax, karat]", "factors.attention.content=[false]"),
    ("attention.heads=[0]", "factors.attention.content=[true, false]"),  # the other heads read queries and keys
    ("training.epochs=4", "confirm.budgets=[1, 2, 4]"),
    ("confirm.budgets=[1, 14]",),
)
