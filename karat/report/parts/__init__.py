"""Parts of a report, one file each; `karat.report.sections` has the others."""
