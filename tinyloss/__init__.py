"""Loss functions for machine learning, on any array, with exact gradients.

Every loss is called with a prediction x and a target y, arrays of any library (NumPy, CuPy, JAX,
torch, Dask, ...), and returns that library's array on the same device:

    loss = tinyloss.cross_entropy(x, y)
    loss, gradient = tinyloss.value_and_grad(tinyloss.cross_entropy)(x, y)

Each loss is a function and a class, whose objects have the parameters set; `help(tinyloss.huber)`
tells all of one.

(All losses are listed here when this is imported.)
BinaryCrossEntropyLoss              of logits, or of probabilities with from_logits=False
WeightedSum                         what adding and scaling objects makes

value_and_grad, grad                functions of a loss's gradient
grad_and_hess                       and of its curvature, item by item
hvp                                 of its Hessian times a direction
constant_minimizer                  the best constant prediction: what boosting starts from
traits, Traits                      convex or not, its steepest slope, what it elicits
partial_mean, PartialMean           means over data in parts
over                                a mean for each output, class or image
by_segment                          lists of different lengths in one array
loss                                makes a loss of a function of yours
of_products                         makes of a loss of scores one of two matrices
memory, Memory                      how many bytes a call of such a loss takes
LossScaler                          keeps gradients of half precision from vanishing
softmax, log_softmax, logsumexp, log_sigmoid, softplus
                                    as accurate as the losses
sparsemax, entmax15                 probabilities of which some are 0
namespace                           the functions for an array, for losses of yours
sort_by, cumulative_log_sum_exp     rows in an order, for losses of yours
validation                          whether targets are looked at
source                              the text of what is compiled for a loss
clear_caches                        forgets what was found out about earlier calls

Every loss has four options, all keyword-only:

weight
    The weight of each item; broadcasts to the items. An item is an element, or a row of classes.
where
    Which items to take, booleans that broadcast to the items. An item that is not taken, or has
    weight 0, contributes nothing: its NaN or infinity reaches neither value nor gradient.
reduction
    "mean", the default: sum(weight * loss) / sum(weight); 0 where nothing is taken. "sum":
    sum(weight * loss). "none": weight * loss, item by item.
denominator
    What the mean divides by instead of the sum of weights: a number or 0-d array. For gradients
    accumulated over several batches. For means over data in parts see `partial_mean`.

x and y never broadcast against each other. float16, bfloat16 and float8 are computed in float32:
the loss is float32, the gradient is rounded once to the dtype of its argument.
A parameter that is a number may be a 0-d array, a traced one too, whose range is not looked at.
A parameter counts as 0 or as the nearest normal number of the dtype computed in: eps=1e-50 is
1.2e-38 in float32. A difference that overflows is infinite, whatever it is multiplied with after.
"""

import inspect as _inspect
from typing import Any as _Any

from tinyloss import _arrays
from tinyloss._cache import clear_caches as clear_caches
from tinyloss._constant import constant_minimizer as constant_minimizer
from tinyloss._custom import loss as loss
from tinyloss._engine.products import Memory as Memory
from tinyloss._engine.targets import validation as validation
from tinyloss._in_order import cumulative_log_sum_exp as cumulative_log_sum_exp
from tinyloss._in_order import sort_by as sort_by
from tinyloss._objects import WeightedSum as WeightedSum
from tinyloss._over import over as over
from tinyloss._partial import PartialMean as PartialMean
from tinyloss._partial import partial_mean as partial_mean
from tinyloss._products import memory as memory
from tinyloss._products import of_products as of_products
from tinyloss._scaler import LossScaler as LossScaler
from tinyloss._segments import by_segment as by_segment
from tinyloss._traits import Traits as Traits
from tinyloss._traits import traits as traits
from tinyloss._transforms import grad as grad
from tinyloss._transforms import grad_and_hess as grad_and_hess
from tinyloss._transforms import hvp as hvp
from tinyloss._transforms import source as source
from tinyloss._transforms import value_and_grad as value_and_grad
from tinyloss.losses import listed as _listed
from tinyloss.losses.activations import *
from tinyloss.losses.binary import *
from tinyloss.losses.classes import *
from tinyloss.losses.contrastive import *
from tinyloss.losses.decorrelation import *
from tinyloss.losses.divergence import *
from tinyloss.losses.ensembles import *
from tinyloss.losses.lists import *
from tinyloss.losses.metric import *
from tinyloss.losses.multiclass import *
from tinyloss.losses.pairs import *
from tinyloss.losses.preference import *
from tinyloss.losses.products import *
from tinyloss.losses.ranking import *
from tinyloss.losses.regression import *
from tinyloss.losses.scores import *
from tinyloss.losses.segmentation import *
from tinyloss.losses.sequence import *
from tinyloss.losses.sparse import *
from tinyloss.losses.survival import *

__version__ = "0.1.0"

if __doc__:  # -OO leaves none
    __doc__ = __doc__.replace("(All losses are listed here when this is imported.)", _listed())

namespace = _arrays.public_namespace

# What is imported above, by name; type checkers see it there.
globals()["__all__"] = sorted(
    _name
    for _name, _public in globals().items()
    if _name[0] != "_" and not _inspect.ismodule(_public)
)

# Where a name is defined may change; what pickles and messages call it may not.
for _name in globals()["__all__"]:
    _public: _Any = globals()[_name]
    _public.__module__, _public.__qualname__, _public.__name__ = __name__, _name, _name


def __dir__() -> list[str]:
    # help() would print all docstrings, thousands of lines under the table above.
    frame = _inspect.currentframe()
    while frame is not None and frame.f_globals.get("__name__") in (__name__, "inspect"):
        frame = frame.f_back
    asks = frame is not None and frame.f_globals.get("__name__") == "pydoc"
    return ["__version__"] if asks else list(globals())
