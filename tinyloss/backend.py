"""What a backend is made with: one that answers calls on one library's arrays its own way.

A backend is a package with a function `prepare(kind)`, named in the entry-point group
`tinyloss.backends` by the array library's name. It returns a function that answers the jobs of a
kind, or returns NotImplemented to leave one to the formulas:

    Kind        what decides how a call is answered: formula, arguments, what is asked; hashable
    Job         a kind with one call's arrays and numbers
    Answer      value, gradients, curvature

    evaluate    answers a job by its formulas
    scaled      selects, weighs and divides what a function says of the items
    finished    reduces and rounds that
    delivered   writes derivatives into the arrays that the caller gave
    looked      looks at the targets of a job, where it says so
    at_once     answers a loss of scores that are products, all scores at once
    by_chunks   the same, chunk by chunk
    evaluated   answers a batch of sequences by their loss's formulas
    replaced    a job with some of its fields changed, or of its kind's
    translated  a job with another library's arrays of the same memory

`tinyloss.testing.check_backend` says whether it keeps the contract. Backends that compile find the
rest in `tinyloss.compiler`.
"""

from tinyloss._arrays import astype, dtype_name, namespace, of_rank, widest_dtype
from tinyloss._cache import Cache, cache_of
from tinyloss._engine.chunks import at_once, by_chunks, known_of_columns, seen_of_columns
from tinyloss._engine.job import (
    Answer,
    Argument,
    Domain,
    Job,
    Kind,
    Weighing,
    delivered,
    evaluate,
    finished,
    items,
    looked,
    replaced,
    scaled,
    translated,
)
from tinyloss._engine.pairs import OF_ROWS, scores_and_target
from tinyloss._engine.registry import Backend, extent
from tinyloss._engine.run import answer_of, prepared_for
from tinyloss._engine.scored import FACTORS, PIECE, Budget, Columns, Scored
from tinyloss._engine.sequences import (
    Sequenced,
    Tools,
    answer_of_sequences,
    backends_answer,
    evaluated,
)
from tinyloss._engine.targets import domain_of
from tinyloss._formula import CLASS, ITEM, LABEL, NUMBER, Block, Formula, InParts, Loops, Role
from tinyloss._rows import PAIRS, OfPairs, Rows

__all__ = [
    "CLASS",
    "FACTORS",
    "ITEM",
    "LABEL",
    "NUMBER",
    "OF_ROWS",
    "PAIRS",
    "PIECE",
    "Answer",
    "Argument",
    "Backend",
    "Block",
    "Budget",
    "Cache",
    "Columns",
    "Domain",
    "Formula",
    "InParts",
    "Job",
    "Kind",
    "Loops",
    "OfPairs",
    "Role",
    "Rows",
    "Scored",
    "Sequenced",
    "Tools",
    "Weighing",
    "answer_of",
    "answer_of_sequences",
    "astype",
    "at_once",
    "backends_answer",
    "by_chunks",
    "cache_of",
    "delivered",
    "domain_of",
    "dtype_name",
    "evaluate",
    "evaluated",
    "extent",
    "finished",
    "items",
    "known_of_columns",
    "looked",
    "namespace",
    "of_rank",
    "prepared_for",
    "replaced",
    "scaled",
    "scores_and_target",
    "seen_of_columns",
    "translated",
    "widest_dtype",
]
