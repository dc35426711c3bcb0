"""The catalogue entries of the tasks over text; imports no torch."""

from undertow import Lengths, TaskSpec
from undertow_tasks.text.options import CharLmOptions, SentimentOptions, TranslationOptions

SPECS = (
    TaskSpec(
        name="char-lm",
        summary="Predict the next character of a text at every step; without a text, of Python's own documentation",
        factory="undertow_tasks.text.char_lm:CharLm",
        options=CharLmOptions,
        paper="Graves 2013, arXiv 1308.0850; Karpathy, Johnson & Fei-Fei 2015, arXiv 1506.02078",
        shape="aligned",
        lengths=Lengths(default=100, minimum=64),
        metrics={"bits_per_character": "min"},
    ),
    TaskSpec(
        name="sentiment",
        summary="Is a text positive or negative? From a file, a Hugging Face dataset, or a small generated set",
        factory="undertow_tasks.text.sentiment:Sentiment",
        options=SentimentOptions,
        paper="Maas et al. 2011, ACL P11-1015; Socher et al. 2013, EMNLP D13-1170",
        shape="many-to-one",
        lengths=Lengths(default=32, minimum=16),
        metrics={"accuracy": "max"},
    ),
    TaskSpec(
        name="translation",
        summary="Read a sentence, then write its translation; from a file, a dataset, or generated English to Korean",
        factory="undertow_tasks.text.translation:Translation",
        options=TranslationOptions,
        paper="Sutskever, Vinyals & Le 2014, arXiv 1409.3215; Cho et al. 2014, arXiv 1406.1078",
        shape="seq2seq",
        lengths=Lengths(default=16, minimum=14),
        metrics={"exact_match": "max", "bleu": "max"},
    ),
)
