"""A report as files: a page of HTML, Markdown, LaTeX and CSV, one file each."""
