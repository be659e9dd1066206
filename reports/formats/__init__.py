"""The numbers as text, Markdown, LaTeX, CSV and a page."""
