// `_paths_loop.py` for a block of threads. Frames wait for each other only where they must: a thread
// has a state of each. All else is done by a warp for each frame.

struct alignas(16) Wide {
    real m, i;
};

INLINE Wide none() { return Wide{0, -inf}; }
INLINE Wide ordinary(real m) { return Wide{m, m == 0 ? -inf : real(0)}; }
INLINE real scaled(Wide a, real i) {
    return a.m * (a.i == i ? real(1) : a.i == i - 1 ? BACK : real(0));
}
INLINE real plain(Wide a) { return scaled(a, 0); }
INLINE Wide sum(Wide a, Wide b, Wide c) {
    const real most = a.i > b.i ? a.i : b.i, i = most > c.i ? most : c.i;
    return Wide{scaled(a, i) + scaled(b, i) + scaled(c, i), i};
}
INLINE Wide product(Wide a, Wide b) {
    const real m = a.m * b.m, i = a.i + b.i;
    const bool small = m < SMALL, large = m >= LARGE;
    return Wide{m * (small ? STEP : large ? BACK : real(1)),
                m == 0 ? -inf : small ? i - 1 : large ? i + 1 : i};
}

// What rounding takes from d = x - y, where d is not huge.
INLINE real lost(real x, real y, real d) {
    return abs(d) < 1e18 ? (x - (d - (d - x))) - (y + (d - x)) : real(0);
}
INLINE Wide symbol(real x, real top, real share) {
    const real d = x - top;
    if (d == -inf) return share == share ? none() : Wide{share, 0};
    if (!(d < ORDINARY)) return Wide{exp_difference(x, top) * share, 0};
    const real i = d > -1e18 ? real((long long)(d / UNIT - 0.5)) : d / UNIT;
    const real r = minimum(maximum(lost(x, top, d) - i * UNIT_LOW, real(-0.5)), real(0.5));
    const real e = ::exp(minimum(maximum(d - i * UNIT_HIGH, -0.5 * UNIT), 0.5 * UNIT)) * share;
    return Wide{e + e * (r + 0.5 * r * r), i};
}

struct Ranked {
    real x = -inf;
    index k = 0x7fffffff;

    INLINE bool ahead(const Ranked& other) const {
        return x > other.x || (x == other.x && k < other.k);
    }
};

// The largest numbers; NaN counts as infinite.
template <int COUNT> struct Top {
    Ranked at[COUNT];

    INLINE void take(real x, index k) { take(Ranked{x == x ? x : inf, k}); }
    INLINE void take(Ranked next) {
        #pragma unroll
        for (int n = 0; n < COUNT; ++n) {
            const bool ahead = next.ahead(at[n]);
            const Ranked here = at[n];
            at[n] = ahead ? next : here;
            next = ahead ? here : next;
        }
    }
    INLINE void merge(const Top& other) {
        #pragma unroll
        for (int n = 0; n < COUNT; ++n) take(other.at[n]);
    }
    INLINE Top from(int step, int width) const {
        Top other;
        #pragma unroll
        for (int n = 0; n < COUNT; ++n)
            other.at[n] = Ranked{from_lane(at[n].x, step, width), from_lane(at[n].k, step, width)};
        return other;
    }
    INLINE bool has(index k) const {
        bool found = false;
        #pragma unroll
        for (int n = 0; n < COUNT; ++n) found |= at[n].k == k;
        return found;
    }
};

// What is known of a frame: its softmax, the three largest classes apart from all others.
struct Frame {
    Top<3> top;
    real share, rest, others, wrong, p[3];
};

INLINE real together(Sum sum) {
    across_lanes(sum, 32);
    return sum.result();
}

enum { KEPT = 1024 };  // states of two frames that fit into shared memory

struct Shared {
    Wide states[2][KEPT + 2];
};

struct Paths {
    const Sequence& of;
    Shared& shared;
    const index length, states;
    Wide *rows, *symbols, *spare;
    Frame* frames;
    index *nexts, *leads, *known;
    real wrong = 1;
    bool likely = false, small = false;

    INLINE Paths(const Sequence& of, Shared& shared, real* memory)
        : of(of), shared(shared), length(of.length), states(2 * of.length + 1) {
        rows = reinterpret_cast<Wide*>(memory);
        symbols = rows + (of.time + 1ll) * states;
        spare = symbols + (long long)of.time * (length + 1);
        frames = reinterpret_cast<Frame*>(spare + 2ll * (states + 2));
        nexts = reinterpret_cast<index*>(frames + of.time + 1);
        leads = nexts + length;
        known = leads + length;
    }

    INLINE index lane() const { return threadIdx.x % 32; }
    INLINE index warp() const { return threadIdx.x / 32; }
    // The next frame that counts, and the one before.
    INLINE index after(index t) const {
        do ++t;
        while (t < of.time && !of.counts(t));
        return t;
    }
    INLINE index before(index t) const {
        do --t;
        while (t >= 0 && !of.counts(t));
        return t;
    }
    INLINE Wide* row(index t) const { return rows + (long long)t * states; }
    INLINE Wide* symbols_of(index t) const { return symbols + (long long)t * (length + 1); }
    INLINE Wide symbol_of(index t, index s) const {
        const bool there = 0 <= t && t < of.time && s < states;
        return there ? read(symbols_of(t) + (s % 2 ? s / 2 + 1 : 0)) : none();
    }
    INLINE index now(index s) const { return s % 2 ? of.label(s / 2) : -1; }
    INLINE index coming(index s) const {
        const index next = (s + 1) / 2;
        return next < length ? of.label(next) : -1;
    }
    // Whether a state may follow the last but one, without a blank between them.
    INLINE bool skips(index s) const {
        return s % 2 && 2 < s && s < states && of.label(s / 2) != of.label(s / 2 - 1);
    }
    // States of a frame, in turn, between two that are impossible.
    INLINE Wide* near(int turn) const {
        return states <= KEPT ? shared.states[turn] + 1 : spare + turn * (states + 2ll) + 1;
    }

    // What labels are alike, and which classes the target has.
    INLINE void find_classes() const {
        for (index k = threadIdx.x; k < of.classes; k += THREADS) write(known + k, index(k == of.blank));
        __syncthreads();
        for (index j = threadIdx.x; j < length; j += THREADS) {
            const index c = of.label(j);
            index next = j + 1, earlier = j - 1;
            while (next < length && of.label(next) != c) ++next;
            while (earlier >= 0 && of.label(earlier) != c) --earlier;
            write(nexts + j, next);
            write(leads + j, index(earlier < 0));
            if (earlier < 0) write(known + c, 1);
        }
    }

    INLINE void read_frame(index t) const {
        Frame frame;
        for (index k = lane(); k < of.classes; k += 32) frame.top.take(of.x(t, k), k);
        across_lanes(frame.top, 32);
        const real top = frame.top.at[0].x;
        Sum others;
        for (index k = lane(); k < of.classes; k += 32)
            if (!frame.top.has(k)) others.take(exp_difference(of.x(t, k), top));
        frame.others = together(others);
        const real second = exp_difference(frame.top.at[1].x, top);
        const real third = exp_difference(frame.top.at[2].x, top);
        frame.rest = frame.others + third + second + (top - top);  // NaN of an infinite logit
        frame.share = 1 / (1 + frame.rest);
        frame.rest *= frame.share;
        frame.others *= frame.share;
        frame.p[0] = frame.share;
        frame.p[1] = second * frame.share;
        frame.p[2] = third * frame.share;
        frame.wrong = 0;
        if (lane() == 0) write(frames + t, frame);
        for (index j = lane(); j <= length; j += 32) {
            const real x = of.x(t, j ? of.label(j - 1) : of.blank);
            write(symbols_of(t) + j, symbol(x, top, frame.share));
        }
    }

    // What is in each state before each frame, and at last.
    INLINE void go() const {
        const index me = threadIdx.x;
        if (me < 4) write(near(me % 2) + (me < 2 ? -1 : states), none());
        for (index s = me; s < states; s += THREADS) write(near(0) + s, ordinary(s == 0));
        index t = after(-1);
        Wide own = symbol_of(t, me);
        const bool own_skips = skips(me);
        __syncthreads();
        int turn = 0;
        while (t < of.time) {
            const index next = after(t);
            const Wide ahead = symbol_of(next, me);  // on its way while others are waited for
            const Wide* from = near(turn);
            for (index s = me; s < states; s += THREADS) {
                const Wide a = read(from + s);
                const bool skips_one = s == me ? own_skips : skips(s);
                const Wide come =
                    sum(a, read(from + s - 1), skips_one ? read(from + s - 2) : none());
                write(near(1 - turn) + s, product(come, s == me ? own : symbol_of(t, s)));
                write(row(t) + s, a);
            }
            own = ahead;
            t = next;
            turn = 1 - turn;
            __syncthreads();
        }
        for (index s = me; s < states; s += THREADS) write(row(of.time) + s, read(near(turn) + s));
        __syncthreads();
    }

    // The probability of what leads from a state to none: to take it off 1 would lose its digits.
    INLINE real leaving(const Frame& frame, index t, index s) const {
        const index label = now(s), next = coming(s);
        real v = frame.others;
        if (!frame.top.has(of.blank)) v -= plain(symbol_of(t, 0));
        if (label >= 0 && !frame.top.has(label)) v -= plain(symbol_of(t, s));
        if (next >= 0 && next != label && !frame.top.has(next))
            v -= plain(symbol_of(t, s + 1 + s % 2));
        v = v < 0 ? real(0) : v;
        #pragma unroll
        for (int n = 2; n >= 0; --n) {
            const index k = frame.top.at[n].k;
            v += k == of.blank || k == label || k == next ? real(0) : frame.p[n];
        }
        return v;
    }

    // Ordinary numbers take the place of what is in the states, and what leaves these stands beside.
    INLINE void leave(index t) const {
        const Frame frame = read(frames + t);
        Sum sum;
        for (index s = lane(); s < states; s += 32) {
            const real m = plain(read(row(t) + s));
            const real v = t < of.time ? leaving(frame, t, s) : real(s < states - 2);
            sum.take(m * v);
            write(row(t) + s, Wide{m, v});
        }
        const real left = together(sum);
        if (lane() == 0) write(&frames[t].wrong, left);
    }

    INLINE real loss(Wide right) {
        likely = right.i == 0 && right.m > 0.4;
        if (likely) {
            for (index t = warp(); t <= of.time; t += WARPS)
                if (t == of.time || of.counts(t)) leave(t);
            __syncthreads();
            Sum sum;
            for (index t = lane(); t <= of.time; t += 32)
                if (t == of.time || of.counts(t)) sum.take(read(&frames[t].wrong));
            wrong = together(sum);
        }
        small = wrong < 0.5;
        return right.m == 0 ? inf : small ? -::log1p(-wrong) : -(::log(right.m) + right.i * UNIT);
    }

    // Before each frame, and at last: beside what is in a state what is wrong behind it, or, where
    // that is likely, the product with what is right behind it.
    INLINE void go_back() const {
        const index me = threadIdx.x;
        index t = of.time, next = before(t);
        Wide own = symbol_of(next, me), here = me < states ? read(row(t) + me) : none();
        const bool own_skips = skips(me + 2);
        for (int turn = 0;; turn = 1 - turn) {
            const index further = next < 0 ? -1 : before(next);
            const Wide ahead = symbol_of(further, me);
            const Wide there = me < states && next >= 0 ? read(row(next) + me) : none();
            const Wide* from = near(turn);
            for (index s = me; s < states; s += THREADS) {
                Wide a = s == me ? here : read(row(t) + s), b;
                if (t == of.time)
                    b = small || s < states - 2 ? none() : ordinary(1);
                else
                    b = sum(read(from + s), read(from + s + 1),
                            (s == me ? own_skips : skips(s + 2)) ? read(from + s + 2) : none());
                if (small) b = sum(b, ordinary(a.i), none());
                if (next >= 0)
                    write(near(1 - turn) + s, product(b, s == me ? own : symbol_of(next, s)));
                a = small ? Wide{a.m, plain(b)} : product(likely ? ordinary(a.m) : a, b);
                write(row(t) + s, a);
            }
            __syncthreads();
            if (next < 0) return;
            own = ahead;
            here = there;
            t = next;
            next = further;
        }
    }

    // The gradient by a frame.
    INLINE void pull_back(index t) const {
        const Frame frame = read(frames + t);
        const Wide *in = row(t), *behind = row(after(t));
        Wide* const own = symbols_of(t);
        Sum sum;
        for (index k = lane(); k < of.classes; k += 32) {
            if (read(known + k)) continue;
            const real p = exp_difference(of.x(t, k), frame.top.at[0].x) * frame.share;
            of.grad(t, k, p * of.pull);
            sum.take(p);
        }
        const real outside = together(sum);
        Largest high;
        for (index s = lane(); !small && s < states; s += 32) high.take(read(behind + s).i);
        across_lanes(high, 32);
        sum = Sum();
        for (index s = lane(); s < states; s += 32)
            sum.take(small ? read(in + s).m : scaled(read(behind + s), high.value));
        const real all = together(sum), share = 1 / all;

        // what comes into a state, and what of that is wrong; else its part of all that is right
        const auto take = [&](index s, real& flow, real& group) {
            const Wide b = read(behind + s);
            if (small) {
                real v = read(in + s).m;
                if (s > 0) v += read(in + s - 1).m;
                if (skips(s)) v += read(in + s - 2).m;
                flow += v;
                group += v * b.i;
            } else {
                const real v = b.m * share, d = high.value - b.i;
                group += d == 0 ? v : d == 1 ? v * BACK : d == 2 ? v * BACK * BACK : 0 * v;
            }
        };
        Sum blank;
        for (index s = 2 * lane(); s < states; s += 64) {
            real flow = 0, group = 0;
            take(s, flow, group);
            blank.take(group);
        }
        const real group = together(blank);
        if (lane() == 0) write(own, Wide{plain(read(own)), group});
        for (index first = 0; first < length; first += 32) {
            const index label = first + lane();
            const bool leader = label < length && read(leads + label);
            real flow = 0, group = 0;
            for (index j = leader ? label : length; j < length; j = read(nexts + j))
                take(2 * j + 1, flow, group);
            real stopped = all - flow;
            // again, by what does not lead there, where the difference has lost its digits
            index again = small && leader && stopped < 0.5 * all ? label : -1;
            for (;;) {
                Top<1> found;
                if (again >= 0) found.take(again, again);
                across_lanes(found, 32);
                if (found.at[0].x < 0) break;
                const index j = found.at[0].k, c = of.label(j);
                sum = Sum();
                for (index s = lane(); s < states; s += 32)
                    if (now(s) != c && coming(s) != c) sum.take(read(in + s).m);
                const real whole = together(sum);
                if (again == j) {
                    stopped = whole;
                    again = -1;
                }
            }
            if (leader)
                write(own + label + 1,
                      Wide{plain(read(own + label + 1)), small ? group + stopped : group});
        }
        wait_for_row();

        const auto leads_to = [&](index u) { return u == 0 || read(leads + u - 1); };
        const auto part = [&](index u) {
            const Wide each = read(own + u);
            return small ? each.m * each.i : each.i;
        };
        Top<1> top;
        sum = Sum();
        if (small && lane() == 0) top.take(outside * all, length + 1);
        for (index u = lane(); u <= length; u += 32)
            if (leads_to(u)) top.take(part(u), u);
        across_lanes(top, 32);
        const index at = top.at[0].k;
        const real largest = top.at[0].x;
        if (small && lane() == 0 && at != length + 1) sum.take(outside * all);
        for (index u = lane(); u <= length; u += 32)
            if (u != at && leads_to(u)) sum.take(part(u));
        const real total = together(sum);
        for (index u = lane(); u <= length; u += 32) {
            if (!leads_to(u)) continue;
            const Wide each = read(own + u);
            const real p = each.m, unlikely = p > 0.5 ? frame.rest : 1 - p;
            const real others = u == at ? total : largest + (total - part(u));
            const real slope =
                small ? p * (unlikely * each.i - others) / (1 - wrong) : p * others - each.i * unlikely;
            of.grad(t, u ? of.label(u - 1) : of.blank, slope * of.pull);
        }
    }
};

INLINE void sequence(const Sequence& of, Shared& shared, real* memory) {
    Paths paths(of, shared, memory);
    if (of.wants_grad) paths.find_classes();
    for (index t = paths.warp(); t < of.time; t += WARPS)
        if (of.counts(t)) paths.read_frame(t);
    __syncthreads();
    paths.go();
    const Wide* const end = paths.row(of.time) + paths.states - 1;
    const Wide right = sum(read(end), paths.length ? read(end - 1) : none(), none());
    __syncthreads();
    const real loss = paths.loss(right);
    if (threadIdx.x == 0) of.loss(loss);
    if (!of.wants_grad) return;
    __syncthreads();
    const bool nothing = right.m == 0 || of.pull == 0;
    if (!nothing) paths.go_back();
    for (index t = paths.warp(); t < of.time; t += WARPS) {
        if (!nothing && of.counts(t))
            paths.pull_back(t);
        else
            for (index k = paths.lane(); k < of.classes; k += 32)
                of.grad(t, k, of.pull == of.pull ? real(0) : of.pull);
    }
}
