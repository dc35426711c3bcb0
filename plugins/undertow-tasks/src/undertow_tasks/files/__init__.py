"""The user's own data: text, rows, images and series from files, and Hugging Face datasets.

    rows = read_rows("reviews.csv", {"text": "task.options.sentiment.text", "label": "task.options.sentiment.label"},
                     option="task.options.sentiment.train")

One module per format; none imports torch. Every fault is a `RequestError` that names file and line, what was expected
there, and the option or the change that corrects it. Paths start at the working folder; ``~`` is the home folder.
"""
