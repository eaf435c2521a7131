"""A study as a RayJob: the whole text, KubeRay's schema, and what is refused."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from jobs import Submission
from jobs.kubernetes.backend import Kubernetes
from jobs.kubernetes.checks import checks_of, quantity
from jobs.kubernetes.manifest import manifest, name_of
from jobs.kubernetes.settings import KubernetesSettings
from jobs.site import settings_for
from karat.errors import InputError
from karat.space.reader import load_space
from karat.space.site import Site
from karat.system.checks import examine
from tests.conftest import ROOT

HERE = Path(__file__).parent
SCHEMA: Mapping[str, Any] = json.loads((HERE / "rayjob.schema.json").read_text())
SITE = KubernetesSettings(
    namespace="lab",
    image="registry.example/karat:0.1.0",
    claim="studies",
    secret="tracking",
    gpus=1,
    most_workers=8,
)


def submission(space_file: Path, site: KubernetesSettings = SITE) -> Submission[KubernetesSettings]:
    return Submission(
        space=load_space(space_file),
        space_file=space_file,
        program=("-m", "karat.cli.in_cluster", "--retried"),
        arguments=(
            "--space",
            str(space_file),
            "--storage",
            "studies",
            "--set",
            "training.epochs=3",
        ),
        storage=Path("studies"),
        code=ROOT,
        settings=site,
        environment={"MLFLOW_TRACKING_URI": "http://mlflow.lab:5000"},
    )


def test_text_is_the_stored_one(write_space: Callable[..., Path]) -> None:
    assert manifest(submission(write_space())) == (HERE / "kubernetes.yaml").read_text()


@pytest.mark.parametrize("site", [SITE, KubernetesSettings(image="karat", claim="c")])
def test_rayjob_holds_to_the_published_schema(
    write_space: Callable[..., Path], site: KubernetesSettings
) -> None:
    question, job = yaml.safe_load_all(manifest(submission(write_space(), site)))
    jsonschema.Draft202012Validator(SCHEMA).validate(job)
    assert question["data"]["space.yaml"] == write_space().read_text()
    pods = [job["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]]
    pods += [each["template"]["spec"] for each in job["spec"]["rayClusterSpec"]["workerGroupSpecs"]]
    for pod in pods:
        volumes = {each["name"] for each in pod["volumes"]}
        assert {m["name"] for c in pod["containers"] for m in c["volumeMounts"]} == volumes


@pytest.mark.parametrize(
    "change",
    [
        lambda job: job["spec"].update(backOffLimit=3),
        lambda job: job["spec"].update(backoffLimit="3"),
        lambda job: job["spec"]["rayClusterSpec"]["headGroupSpec"].pop("rayStartParams"),
        lambda job: job["spec"]["rayClusterSpec"]["autoscalerOptions"].update(upscalingMode="Fast"),
    ],
)
def test_schema_refuses_what_kuberay_would(
    write_space: Callable[..., Path], change: Callable[[Any], object]
) -> None:
    _, job = yaml.safe_load_all(manifest(submission(write_space())))
    change(job)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(SCHEMA).validate(job)


def test_secrets_are_named_and_never_written(
    write_space: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "correct horse")
    given = submission(write_space())
    assert "correct horse" not in manifest(given)
    leaky = replace(given, environment={"MLFLOW_TRACKING_URI": "http://me:correct horse@mlflow"})
    with pytest.raises(InputError, match=r"holds a password or token .*MLFLOW_TRACKING_PASSWORD"):
        manifest(leaky)


def test_what_only_looks_like_a_secret_is_no_obstacle(
    write_space: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    space = write_space(("Is it better?", "Is a Basic grid better?"))
    assert "Is a Basic grid better?" in manifest(submission(space))


def test_driver_is_told_how_many_trials_the_largest_cluster_runs(
    write_space: Callable[..., Path],
) -> None:
    site = replace(SITE, workers=1, most_workers=8, cpus=4, gpus=0)
    space = write_space(("confirm:", "resources: {cpus: 2}\nconfirm:"))
    _, job = yaml.safe_load_all(manifest(submission(space, site)))
    variables = yaml.safe_load(job["spec"]["runtimeEnvYAML"])["env_vars"]
    assert variables["KARAT_MOST_SLOTS"] == "16"


def test_site_without_settings_is_refused() -> None:
    with pytest.raises(InputError, match=r"cluster\.kubernetes is missing.*image.*claim"):
        settings_for(Site(), "kubernetes")


def test_retried_job_never_begins_a_study_anew(write_space: Callable[..., Path]) -> None:
    given = submission(write_space())
    with pytest.raises(InputError, match=r"--fresh: does not go with --submit kubernetes.*--name"):
        manifest(replace(given, arguments=(*given.arguments, "--fresh")))


def test_image_has_what_kuberays_probes_run() -> None:
    installed = re.search(r"apt-get install ([^&]+)&&", (ROOT / "Dockerfile").read_text())
    assert installed is not None
    assert "wget" in installed[1].split()


def test_missing_kubectl_is_said(
    write_space: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(InputError, match="kubectl is missing"):
        Kubernetes().submit(submission(write_space()))


@pytest.fixture
def kubectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A kubectl that writes down what it is asked, and answers with files beside it."""
    program = tmp_path / "bin" / "kubectl"
    program.parent.mkdir()
    program.write_text(
        f"""#!/bin/sh
cd {tmp_path}
echo "$@" >> asked
case "$1 $2" in
    "version -o") echo '{{"serverVersion": {{"gitVersion": "v1.31.2"}}}}' ;;
    "get crd") echo "v1 v1alpha1" ;;
    "get namespace") test "$3" = lab || {{ echo "not found" >&2; false; }} ;;
    "auth can-i") echo yes ;;
    "get persistentvolumeclaim") echo '{{"spec": {{"accessModes": ["'$(cat mode)'"]}},
        "status": {{"phase": "Bound"}}}}' ;;
    "get secret") cat secret >&2; test ! -s secret && echo secret/$3 ;;
    "get nodes") echo '{{"items": [{{"status": {{"allocatable":
        {{"cpu": "7910m", "memory": "'$(cat memory)'", "nvidia.com/gpu": "1"}}}}}}]}}' ;;
    "get rayjob") cat status ;;
    "apply --dry-run=server") cat > given; cat refusal >&2; test ! -s refusal ;;
    apply*) cat > given ;;
esac
"""
    )
    program.chmod(0o755)
    (tmp_path / "refusal").touch()
    (tmp_path / "secret").touch()
    (tmp_path / "mode").write_text("ReadWriteMany")
    (tmp_path / "memory").write_text("32Gi")
    (tmp_path / "status").write_text("Running")
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    return tmp_path


def test_cluster_is_asked_before_anything_is_made(
    write_space: Callable[..., Path], kubectl: Path
) -> None:
    given = submission(write_space())
    done = Kubernetes().submit(given)
    verbs = [line.split()[0] for line in (kubectl / "asked").read_text().splitlines()]
    assert verbs == ["apply", "get", "get", "get", "apply"]  # the claim, the secret, the job
    assert (kubectl / "given").read_text() == manifest(given)
    assert done.id == "karat-small"
    assert done.stop.endswith("""--type merge --patch '{"spec": {"suspend": true}}'""")


def test_cluster_that_does_not_answer_is_said(
    write_space: Callable[..., Path], kubectl: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.kubernetes.kubectl._ANSWER_S", 0.2)
    (kubectl / "bin" / "kubectl").write_text("#!/bin/sh\nexec sleep 30\n")
    with pytest.raises(InputError, match=r"kubectl apply --dry-run=server: no answer in 0\.2 s"):
        Kubernetes().submit(submission(write_space()))
    said = found_of(write_space())
    assert all(each.startswith("FAILS") for each in said.values())
    assert "kubectl version -o: no answer in 0.2 s" in said["kubectl"]


def test_refusal_of_the_cluster_is_passed_on(
    write_space: Callable[..., Path], kubectl: Path
) -> None:
    (kubectl / "refusal").write_text("unknown field spec.x")
    with pytest.raises(InputError, match=r"refuses the RayJob: unknown field spec\.x"):
        Kubernetes().submit(submission(write_space()))
    assert len((kubectl / "asked").read_text().splitlines()) == 1


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("mode", "ReadWriteOnce", "claim studies is ReadWriteOnce: pods on several nodes need"),
        ("secret", "Error (NotFound): no tracking", r"kubernetes\.secret = tracking: .*NotFound"),
    ],
)
def test_job_whose_pods_would_never_start_is_refused(
    write_space: Callable[..., Path], kubectl: Path, file: str, content: str, message: str
) -> None:
    (kubectl / file).write_text(content)
    with pytest.raises(InputError, match=message):
        Kubernetes().submit(submission(write_space()))
    made = [each for each in (kubectl / "asked").read_text().splitlines() if "apply" in each]
    assert made == ["apply --dry-run=server -f -"]


def test_secret_that_one_may_not_look_at_is_taken_to_be_there(
    write_space: Callable[..., Path], kubectl: Path
) -> None:
    (kubectl / "secret").write_text('Error (Forbidden): secrets "tracking" is forbidden')
    assert Kubernetes().submit(submission(write_space())).id == "karat-small"


@pytest.mark.parametrize(
    ("resources", "message"),
    [
        ("{gpus: 9}", r"8 workers with 4 CPUs and 1 GPUs .* 9 processes, each with 1 CPUs and 1 G"),
        ("{cpus: 5}", r"no room for a trial of 1 processes, each with 5 CPUs and 0 GPUs"),
        ("{processes: 33}", r"no room for a trial of 33 processes, each with 1 CPUs and 0 GPUs"),
    ],
)
def test_trial_that_the_workers_do_not_hold_is_refused(
    write_space: Callable[..., Path], resources: str, message: str
) -> None:
    space = write_space(("confirm:", f"resources: {resources}\nconfirm:"))
    with pytest.raises(InputError, match=message):
        manifest(submission(space))


@pytest.mark.parametrize("resources", ["{gpus: auto}", "{gpus: 1, probe: true}"])
def test_probe_on_a_head_without_gpu_is_refused(
    write_space: Callable[..., Path], resources: str
) -> None:
    space = write_space(("confirm:", f"resources: {resources}\nconfirm:"))
    with pytest.raises(InputError, match=r"on the head, which has no GPU; write how much"):
        manifest(submission(space))


def test_trial_may_span_all_workers(write_space: Callable[..., Path]) -> None:
    space = write_space(("confirm:", "resources: {gpus: 8, cpus: 4}\nconfirm:"))
    assert "kind: RayJob" in manifest(submission(space))


@pytest.mark.parametrize("root", ["/datasets/cifar", "~/cifar", "/studies-of-others"])
def test_data_that_no_pod_has_is_refused(write_space: Callable[..., Path], root: str) -> None:
    given = submission(write_space())
    images = {"name": "image_folder", "root": root}
    with pytest.raises(InputError, match=rf"data\.root = '{root}': no pod has it.* /studies"):
        manifest(replace(given, space=replace(given.space, data=images)))
    images["root"] = "/studies/data/cifar"
    assert "kind: RayJob" in manifest(replace(given, space=replace(given.space, data=images)))


def test_object_that_has_ended_makes_room_for_a_new_one(
    write_space: Callable[..., Path], kubectl: Path
) -> None:
    (kubectl / "status").write_text("Failed")
    Kubernetes().submit(submission(write_space()))
    verbs = [line.split()[0] for line in (kubectl / "asked").read_text().splitlines()]
    assert verbs == ["apply", "get", "get", "get", "delete", "apply"]


def test_name_is_one_that_kubernetes_takes_and_no_other_studys(
    write_space: Callable[..., Path],
) -> None:
    given = submission(write_space())

    def named(study: str) -> str:
        return name_of(replace(given, space=replace(given.space, name=study)))

    long = "a_study-with_a_name_of_more_than_forty_letters_0"
    assert re.fullmatch("karat-a-study-with-a-name-of-more-than-[0-9a-f]{8}", named(long))
    assert named("x" * 41) == f"karat-{'x' * 41}"
    studies = [long, long[:-1] + "1", "a_b", "a-b", "a-b-", "a-b_", "x" * 41, "x" * 42]
    names = [named(study) for study in studies]
    assert len(set(names)) == len(studies)
    for name in names:
        assert len(name) <= 47
        assert re.fullmatch("[a-z0-9]([-a-z0-9]*[a-z0-9])?", name)


def found_of(space_file: Path, **settings: Any) -> dict[str, str]:
    """What the doctor says of the cluster, check by check."""
    given = submission(space_file, replace(SITE, **settings))
    return {each.name: str(each) for each in examine(checks_of(given))}


def test_doctor_asks_the_cluster_and_makes_nothing(
    write_space: Callable[..., Path], kubectl: Path
) -> None:
    said = found_of(write_space())
    assert list(said) == [
        *("kubectl", "kuberay", "namespace", "shared", "secret", "nodes", "rayjob"),
    ]
    assert all(each.startswith("ok") for each in said.values()), said
    assert "Kubernetes v1.31.2" in said["kubectl"]
    asked = (kubectl / "asked").read_text().splitlines()
    verbs = {line.split()[0] for line in asked if "--dry-run" not in line}
    assert verbs == {"version", "get", "auth"}


@pytest.mark.parametrize(
    ("file", "content", "name", "message"),
    [
        ("mode", "ReadWriteOnce", "shared", "claim studies is ReadWriteOnce"),
        ("memory", "8Gi", "nodes", "none of 1 nodes has 4 CPUs, 16 GB and 1 GPUs"),
        ("refusal", "unknown field spec.x", "rayjob", "refuses the RayJob: unknown field spec.x"),
    ],
)
def test_doctor_says_what_the_cluster_lacks(
    write_space: Callable[..., Path],
    kubectl: Path,
    file: str,
    content: str,
    name: str,
    message: str,
) -> None:
    (kubectl / file).write_text(content)
    said = found_of(write_space())
    assert [key for key, each in said.items() if each.startswith("FAILS")] == [name]
    assert message in said[name]


def test_doctor_names_a_namespace_that_is_not_there(
    write_space: Callable[..., Path], kubectl: Path
) -> None:
    assert (
        "kubernetes.namespace = other: not found"
        in found_of(write_space(), namespace="other")["namespace"]
    )


def test_doctor_without_kubectl_says_so(
    write_space: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert "kubectl is missing: install it" in found_of(write_space())["kubectl"]


def test_quantities_are_read_as_kubernetes_writes_them() -> None:
    assert [quantity(each) for each in ("4", "3920m", "16Gi", "500M")] == [
        *(4, 3.92, 16 * 2**30, 500e6),
    ]
