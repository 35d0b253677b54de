"""Pictures of losses: what each says is measured when it is drawn, and stands in its title.

curves              losses, gradients and curvature, of several losses or of values of a parameter
text                the same as lines of text
landscape           a loss over two weights, and the path of gradient descent
digits              the error of a cross-entropy against the gap between the logits
scale               gradients in float16, with and without a factor on the loss
rate                what a factor on the loss does to learning
wrong               the right loss and a wrong one, on handwritten digits
convex              whether curves lie below their chords
zoo                 every loss in small multiples
speed               times over the memory's floor, from a report of `python -m benchmarks.cpu`
alt                 what a picture says, in words
save                writes a picture as SVG, PNG or PDF

Each returns a `matplotlib.figure.Figure`, in `theme="light"` or `"dark"`, that pyplot does not
know: it is shown by a notebook, or written by `save`. They need `pip install 'tinyloss[plot]'`;
`rate`, `scale` and `wrong` need scikit-learn as well, which has the handwritten digits.
"""

try:
    from tinyloss.pictures.accuracy import digits as digits
    from tinyloss.pictures.descent import landscape as landscape
    from tinyloss.pictures.learning import rate as rate
    from tinyloss.pictures.learning import scale as scale
    from tinyloss.pictures.learning import wrong as wrong
    from tinyloss.pictures.lines import convex as convex
    from tinyloss.pictures.lines import curves as curves
    from tinyloss.pictures.lines import text as text
    from tinyloss.pictures.lines import zoo as zoo
    from tinyloss.pictures.style import alt as alt
    from tinyloss.pictures.style import save as save
    from tinyloss.pictures.times import speed as speed
except ModuleNotFoundError as _error:
    if _error.name != "numpy":
        raise
    raise ImportError(
        "tinyloss.pictures needs numpy, which is not installed: pip install 'tinyloss[plot]'"
    ) from _error
