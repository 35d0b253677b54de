// Losses of sequences. A block takes one sequence after the other; what its threads do with it
// stands beside the formulas of the loss.

struct Given {
    long long count, time, classes, blank, wants_grad, memory, pulls;
    long long x[3], frame[2], label[2], length, pull, grad[3];  // steps in bytes
};

struct Sequence {
    const $x* logits;
    const bool* frames;
    const $label* labels;
    $loss* losses;
    $grad* gradient;
    const Given& given;
    index time, classes, length, blank;
    bool wants_grad;
    real pull;

    INLINE real x(index t, index k) const {
        return widen(read(along(logits, t * given.x[1] + k * given.x[2])));
    }
    INLINE bool counts(index t) const { return read(along(frames, t * given.frame[1])); }
    INLINE index label(index j) const { return index(read(along(labels, j * given.label[1]))); }
    INLINE void loss(real value) const { write(losses, $loss(value)); }
    INLINE void grad(index t, index k, real value) const {
        write(along(gradient, t * given.grad[1] + k * given.grad[2]), $grad(value));
    }
};

$body

extern "C" __global__ void __launch_bounds__(THREADS, 1)
kernel($parameters) {
    SHARED(Shared, shared);
    for (long long n = blockIdx.x; n < given.count; n += gridDim.x) {
        const Sequence of{along(x, n * given.x[0]),
                          along(frames, n * given.frame[0]),
                          along(labels, n * given.label[0]),
                          losses + n,
                          along(grad, n * given.grad[0]),
                          given,
                          index(given.time),
                          index(given.classes),
                          index(read(along(lengths, n * given.length))),
                          index(given.blank),
                          given.wants_grad != 0,
                          given.pulls ? widen(read(along(pull, n * given.pull))) : real(1.0)};
        sequence(of, shared, scratch + blockIdx.x * given.memory);
        __syncthreads();  // the next sequence takes the memory
    }
}
