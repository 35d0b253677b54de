"""`tinyloss.losses._paths` for one sequence, as plain loops that a backend compiles.

The same numbers by the same sums; what is not needed is not computed: the probability of all that
is wrong only where the target may be likely. Frames that do not count are passed over.
"""

from functools import cache
from importlib.resources import files
from math import log

from tinyloss._formula import Block, Loops
from tinyloss.losses._paths import HALF, unit

_HALF = HALF["float64"]
_WHOLE, _HIGH, _LOW = unit("float64")
_NUMBERS = {
    "SMALL": 2.0**-_HALF,
    "LARGE": 2.0**_HALF,
    "STEP": 2.0 ** (2 * _HALF),
    "BACK": 2.0 ** (-2 * _HALF),
    "UNIT": _WHOLE,
    "UNIT_HIGH": _HIGH,
    "UNIT_LOW": _LOW,
    "ORDINARY": -_HALF * log(2) / 2,
}

_TEXT = """
whole = (classes + LANES - 1) & -LANES
states = 2 * length + 1
line = 8 * (states + 4)
# classes of the target, the blank first
used = 1
store_class(class_at, 0, blank)
for j in range(length):
    store_seen(seen_at, load_label(label_at, j), -1)
for s in range(states):
    store_which(which_at, s, 0)
    store_gap(gap_at, s, -inf)
for j in range(length):
    c = load_label(label_at, j)
    if load_seen(seen_at, c) < 0:
        store_seen(seen_at, c, used)
        store_class(class_at, used, c)
        used += 1
    store_which(which_at, 2 * j + 1, load_seen(seen_at, c))
    if j > 0 and load_label(label_at, j - 1) != c:
        store_gap(gap_at, 2 * j + 1, 0.0)
# states before each frame, two that are impossible in front
for s in range(states + 2):
    store_m(m_at, s, 1.0 if s == 2 else 0.0)
    store_i(i_at, s, 0.0 if s == 2 else -inf)
count = 0
for t in range(time):
    if not load_frame(frame_at + t * frame_step, 0):
        continue
    store_when(when_at, count, t)
    x_row = x_at + t * x_step
    for k in range(classes):
        store_row(row_at, k, load_x(x_row, k))
    for k in range(classes, whole):
        store_row(row_at, k, -inf)
    most = spread(-inf)
    for k in range(0, whole, LANES):
        most = maximum(most, take_row(row_at + 8 * k))
    top = highest(most)
    p_row = p_at + count * 8 * whole
    sums = spread(0.0)
    ties = spread(0.0)
    for k in range(0, whole, LANES):
        each = take_row(row_at + 8 * k)
        e = exp_shortfall(each, top)
        put_p(p_row + 8 * k, e)
        below = each < top
        sums = sums + where(below, e, 0.0)
        ties = ties + where(below, 0.0, e)
    put_lane(lane_at, sums)
    rest = 0.0
    for k in range(LANES):
        rest += load_lane(lane_at, k)
    put_lane(lane_at, ties)
    tied = -1.0
    for k in range(LANES):
        tied += load_lane(lane_at, k)
    rest += tied
    z = 1.0 + rest
    share = 1.0 / z
    for k in range(0, whole, LANES):
        put_p(p_row + 8 * k, take_p(p_row + 8 * k) * share)
    store_rest(rest_at, count, rest * share)
    um_row = um_at + count * 8 * (length + 1)
    ui_row = ui_at + count * 8 * (length + 1)
    for u in range(used):
        c = load_class(class_at, u)
        v = load_p(p_row, c)
        i = 0.0
        d = load_row(row_at, c) - top
        if d < ORDINARY:
            if d == -inf:
                i = -inf
                v = 0.0
            else:
                i = float64(int64(d / UNIT - 0.5)) if d > -1e18 else d / UNIT
                r = load_row(row_at, c)
                r = (r - (d - (d - r))) - (top + (d - r)) if d > -1e18 else 0.0
                r = min(max(r - i * UNIT_LOW, -0.5), 0.5)
                v = exp(min(max(d - i * UNIT_HIGH, -0.5 * UNIT), 0.5 * UNIT)) * share
                v += v * (r + 0.5 * r * r)
        store_um(um_row, u, v)
        store_ui(ui_row, u, i)
    for s in range(states):
        u = load_which(which_at, s)
        store_pm(pm_at, s, load_um(um_row, u))
        store_pi(pi_at, s, load_ui(ui_row, u))
    old_m = m_at + count * line
    old_i = i_at + count * line
    for s in range(states):
        m0 = load_m(old_m, s + 2)
        m1 = load_m(old_m, s + 1)
        m2 = load_m(old_m, s) if load_gap(gap_at, s) == 0.0 else 0.0
        i0 = load_i(old_i, s + 2)
        i1 = load_i(old_i, s + 1)
        i2 = load_i(old_i, s) + load_gap(gap_at, s)
        high = i0 if i0 > i1 else i1
        high = high if high > i2 else i2
        near = high - 1.0
        f0 = m0 if i0 == high else (m0 * BACK if i0 == near else 0.0)
        f1 = m1 if i1 == high else (m1 * BACK if i1 == near else 0.0)
        f2 = m2 if i2 == high else (m2 * BACK if i2 == near else 0.0)
        v = (f0 + f1 + f2) * load_pm(pm_at, s)
        i = high + load_pi(pi_at, s)
        i = i - 1.0 if v < SMALL else (i + 1.0 if v >= LARGE else i)
        i = -inf if v == 0.0 else i
        v = v * STEP if v < SMALL else (v * BACK if v >= LARGE else v)
        store_new_m(new_m_at, s, v)
        store_new_i(new_i_at, s, i)
    count += 1
    old_m += line
    old_i += line
    store_m(old_m, 0, 0.0)
    store_m(old_m, 1, 0.0)
    store_i(old_i, 0, -inf)
    store_i(old_i, 1, -inf)
    for s in range(states):
        store_m(old_m, s + 2, load_new_m(new_m_at, s))
        store_i(old_i, s + 2, load_new_i(new_i_at, s))
last_m = m_at + count * line
last_i = i_at + count * line
m0 = load_m(last_m, states + 1)
m1 = load_m(last_m, states)
i0 = load_i(last_i, states + 1)
i1 = load_i(last_i, states)
high = i0 if i0 > i1 else i1
right = m0 if i0 == high else (m0 * BACK if i0 == high - 1.0 else 0.0)
right += m1 if i1 == high else (m1 * BACK if i1 == high - 1.0 else 0.0)
# NaN as well is likely: it is no error of a comparison
likely = high == 0.0 and right > 0.4
wrong = 1.0
if likely:
    wrong = 0.0
    for s in range(states - 2):
        if load_i(last_i, s + 2) == 0.0:
            wrong += load_m(last_m, s + 2)
        elif load_i(last_i, s + 2) == -1.0:
            wrong += load_m(last_m, s + 2) * BACK
    for n in range(count):
        p_row = p_at + n * 8 * whole
        first = 0
        second = -1
        third = -1
        for k in range(1, classes):
            v = load_p(p_row, k)
            if v > load_p(p_row, first):
                third = second
                second = first
                first = k
            elif second < 0 or v > load_p(p_row, second):
                third = second
                second = k
            elif third < 0 or v > load_p(p_row, third):
                third = k
        others = 0.0
        for k in range(classes):
            v = load_p(p_row, k)
            others += 0.0 if k == first or k == second or k == third else v
        old_m = m_at + n * line
        old_i = i_at + n * line
        leaving_row = leaving_at + n * line
        for s in range(states):
            now = load_label(label_at, s // 2) if s % 2 == 1 else -1
            next_ = s // 2 + s % 2
            coming = load_label(label_at, next_) if next_ < length else -1
            v = others
            if blank != first and blank != second and blank != third:
                v -= load_p(p_row, blank)
            if now >= 0 and now != first and now != second and now != third:
                v -= load_p(p_row, now)
            if coming >= 0 and coming != now:
                if coming != first and coming != second and coming != third:
                    v -= load_p(p_row, coming)
            v = 0.0 if v < 0.0 else v
            if first != blank and first != now and first != coming:
                v += load_p(p_row, first)
            if second >= 0 and second != blank and second != now and second != coming:
                v += load_p(p_row, second)
            if third >= 0 and third != blank and third != now and third != coming:
                v += load_p(p_row, third)
            store_leaving(leaving_row, s, v)
            if load_i(old_i, s + 2) == 0.0:
                wrong += v * load_m(old_m, s + 2)
            elif load_i(old_i, s + 2) == -1.0:
                wrong += v * load_m(old_m, s + 2) * BACK
small = wrong < 0.5
if right == 0.0:
    loss = inf
elif small:
    loss = -log1p(-wrong)
else:
    loss = -(log(right) + high * UNIT)
store_loss(loss_at, 0, loss)
if wants_grad:
    for t in range(time):
        if right == 0.0 or pull == 0.0 or not load_frame(frame_at + t * frame_step, 0):
            for k in range(classes):
                store_grad(grad_at + t * grad_step, k, 0.0 if pull == pull else pull)
    ends = states - 2 if length > 0 else states - 1
    for s in range(states + 2):
        is_end = ends <= s < states
        store_b(b_at, s, 1.0 if is_end else 0.0)
        store_j(j_at, s, 0.0 if is_end else -inf)
        store_bad(bad_at, s, 0.0 if is_end or s >= states else 1.0)
    for s in range(states, states + 2):
        store_q(q_at, s, 0.0)
        store_r(r_at, s, -inf)
        store_worse(worse_at, s, 0.0)
    store_gap(gap_at, states, -inf)
    store_gap(gap_at, states + 1, -inf)
    for back in range(count if right != 0.0 and pull != 0.0 else 0):
        n = count - 1 - back
        t = load_when(when_at, n)
        p_row = p_at + n * 8 * whole
        grad_row = grad_at + t * grad_step
        um_row = um_at + n * 8 * (length + 1)
        ui_row = ui_at + n * 8 * (length + 1)
        for u in range(used):
            store_group(group_at, u, 0.0)
            store_flow(flow_at, u, 0.0)
        for k in range(classes):
            store_grad(grad_row, k, load_p(p_row, k) * pull)
        rest = load_rest(rest_at, n)
        if small:
            # what is wrong behind each state, from what comes into it
            all_ = 0.0
            old_m = m_at + n * line
            old_i = i_at + n * line
            for s in range(states):
                i = load_i(old_i, s + 2)
                v = load_m(old_m, s + 2)
                v = v if i == 0.0 else (v * BACK if i == -1.0 else 0.0)
                store_plain(plain_at, s, v)
                all_ += v
            for s in range(states):
                v = load_plain(plain_at, s)
                if s > 0:
                    v += load_plain(plain_at, s - 1)
                if load_gap(gap_at, s) == 0.0:
                    v += load_plain(plain_at, s - 2)
                u = load_which(which_at, s)
                store_flow(flow_at, u, load_flow(flow_at, u) + v)
                store_group(group_at, u, load_group(group_at, u) + v * load_bad(bad_at, s))
            total = 0.0
            largest = -1.0
            at = -1
            outside = 0.0
            for k in range(classes):
                outside += load_p(p_row, k)
            inside = 0.0
            for u in range(used):
                inside += load_p(p_row, load_class(class_at, u))
            outside = outside - inside
            if outside < 0.5:
                # again without what is inside: the difference has lost its digits
                for u in range(used):
                    c = load_class(class_at, u)
                    store_kept(kept_at, u, load_p(p_row, c))
                    store_p(p_row, c, 0.0)
                outside = 0.0
                for k in range(classes):
                    outside += load_p(p_row, k)
                for u in range(used):
                    store_p(p_row, load_class(class_at, u), load_kept(kept_at, u))
            for u in range(1, used):
                c = load_class(class_at, u)
                stopped = all_ - load_flow(flow_at, u)
                if stopped < 0.5 * all_:
                    stopped = 0.0
                    for s in range(states):
                        now = load_label(label_at, s // 2) if s % 2 == 1 else -1
                        next_ = s // 2 + s % 2
                        coming = load_label(label_at, next_) if next_ < length else -1
                        if now != c and coming != c:
                            stopped += load_plain(plain_at, s)
                store_group(group_at, u, load_group(group_at, u) + stopped)
            for u in range(used + 1):
                v = outside * all_
                if u < used:
                    v = load_p(p_row, load_class(class_at, u)) * load_group(group_at, u)
                if v > largest:
                    if at >= 0:
                        total += largest
                    largest = v
                    at = u
                else:
                    total += v
            for u in range(used):
                v = load_p(p_row, load_class(class_at, u))
                w = load_group(group_at, u)
                others = total if u == at else total + (largest - v * w)
                if u != at:
                    others = largest + (total - v * w)
                unlikely = rest if v > 0.5 else 1.0 - v
                g = v * (unlikely * w - others) / (1.0 - wrong)
                store_grad(grad_row, load_class(class_at, u), g * pull)
            leaving_row = leaving_at + n * line
            for s in range(states):
                v = load_p(p_row, load_class(class_at, load_which(which_at, s)))
                store_worse(worse_at, s, v * load_bad(bad_at, s))
            for s in range(states):
                v = load_worse(worse_at, s) + load_worse(worse_at, s + 1)
                v += load_worse(worse_at, s + 2) if load_gap(gap_at, s + 2) == 0.0 else 0.0
                store_bad(bad_at, s, v + load_leaving(leaving_row, s))
        else:
            new_m = m_at + (n + 1) * line
            new_i = i_at + (n + 1) * line
            high = -inf
            for s in range(states):
                v = load_m(new_m, s + 2) * load_b(b_at, s)
                i = load_i(new_i, s + 2) + load_j(j_at, s)
                i = i - 1.0 if v < SMALL else (i + 1.0 if v >= LARGE else i)
                i = -inf if v == 0.0 else i
                v = v * STEP if v < SMALL else (v * BACK if v >= LARGE else v)
                store_plain(plain_at, s, v)
                store_r(r_at, s, i)
            for s in range(states):
                i = load_r(r_at, s)
                high = i if i > high else high
            near = high - 1.0
            all_ = 0.0
            for s in range(states):
                v = load_plain(plain_at, s)
                i = load_r(r_at, s)
                all_ += v if i == high else (v * BACK if i == near else 0.0 * v)
            share = 1.0 / all_
            for s in range(states):
                v = load_plain(plain_at, s) * share
                i = load_r(r_at, s)
                far = v * BACK * BACK if i == near - 1.0 else 0.0 * v
                v = v if i == high else (v * BACK if i == near else far)
                u = load_which(which_at, s)
                store_group(group_at, u, load_group(group_at, u) + v)
            total = 0.0
            largest = -1.0
            at = -1
            for u in range(used):
                v = load_group(group_at, u)
                if v > largest:
                    if at >= 0:
                        total += largest
                    largest = v
                    at = u
                else:
                    total += v
            for u in range(used):
                c = load_class(class_at, u)
                w = load_group(group_at, u)
                v = load_p(p_row, c)
                others = total if u == at else largest + (total - w)
                unlikely = rest if v > 0.5 else 1.0 - v
                store_grad(grad_row, c, (v * others - w * unlikely) * pull)
            for s in range(states):
                u = load_which(which_at, s)
                store_pm(pm_at, s, load_um(um_row, u))
                store_pi(pi_at, s, load_ui(ui_row, u))
            for s in range(states):
                v = load_b(b_at, s) * load_pm(pm_at, s)
                i = load_j(j_at, s) + load_pi(pi_at, s)
                i = i - 1.0 if v < SMALL else (i + 1.0 if v >= LARGE else i)
                i = -inf if v == 0.0 else i
                v = v * STEP if v < SMALL else (v * BACK if v >= LARGE else v)
                store_q(q_at, s, v)
                store_r(r_at, s, i)
            for s in range(states):
                m0 = load_q(q_at, s)
                m1 = load_q(q_at, s + 1)
                m2 = load_q(q_at, s + 2) if load_gap(gap_at, s + 2) == 0.0 else 0.0
                i0 = load_r(r_at, s)
                i1 = load_r(r_at, s + 1)
                i2 = load_r(r_at, s + 2) + load_gap(gap_at, s + 2)
                high = i0 if i0 > i1 else i1
                high = high if high > i2 else i2
                near = high - 1.0
                f0 = m0 if i0 == high else (m0 * BACK if i0 == near else 0.0)
                f1 = m1 if i1 == high else (m1 * BACK if i1 == near else 0.0)
                f2 = m2 if i2 == high else (m2 * BACK if i2 == near else 0.0)
                v = f0 + f1 + f2
                store_b(b_at, s, v * BACK if v >= LARGE else v)
                store_j(j_at, s, high + 1.0 if v >= LARGE else high)
"""


def _places(time: int, classes: int, length: int) -> dict[str, tuple[str, int]]:
    """Return the dtype and the count of the numbers of each place of scratch memory."""
    states, whole = 2 * length + 5, classes + 8
    of_states = dict.fromkeys(
        ("gap", "pm", "pi", "new_m", "new_i", "b", "j", "bad", "q", "r", "worse", "plain"),
        ("float64", states),
    )
    of_classes = dict.fromkeys(("group", "flow", "kept"), ("float64", length + 1))
    of_times = dict.fromkeys(("m", "i", "leaving"), ("float64", (time + 1) * states))
    shares = dict.fromkeys(("um", "ui"), ("float64", time * (length + 1)))
    indices = {
        "class": ("int64", length + 1),
        "seen": ("int64", classes),
        "which": ("int64", states),
        "when": ("int64", time),
    }
    rows = {
        "row": ("float64", whole),
        "p": ("float64", time * whole),
        "rest": ("float64", time),
        "lane": ("float64", 16),
    }
    return {**of_states, **of_classes, **of_times, **shares, **indices, **rows}


LOOPS = Loops(_TEXT, _places, _NUMBERS)


def _memory(time: int, classes: int, length: int) -> int:
    """Return how many numbers `_paths.cu` keeps of a sequence; those of 16 bytes lie in front."""
    states = 2 * length + 1
    wide = (time + 1) * states + time * (length + 1) + 2 * (states + 2)
    return 2 * wide + 14 * (time + 1) + (2 * length + classes + 3) // 4 * 2


@cache
def block() -> Block:
    """Return the same for a block of a GPU's threads, frames that need no others side by side."""
    text = files("tinyloss.losses").joinpath("_paths.cu").read_text(encoding="utf-8")
    return Block(text, _memory, _NUMBERS)
