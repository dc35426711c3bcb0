"""What the commands print: console, tables, Markdown, descriptions of plugins, results of runs and studies, links."""
