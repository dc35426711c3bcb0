"""What the commands print: console, tables, Markdown, descriptions of plugins, links to charts."""
