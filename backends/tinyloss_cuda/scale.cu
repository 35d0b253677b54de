// An array times a number, in its place. Where the number is 1 nothing is read but that.

extern "C" __global__ void __launch_bounds__(THREADS)
kernel($type* array, const long long count, const $factor* factor) {
    const real by = widen(read(factor));
    if (by == real(1.0)) return;
    const long long step = (long long)(gridDim.x) * THREADS;
    for (long long n = (long long)(blockIdx.x) * THREADS + threadIdx.x; n < count; n += KEEP * step) {
        real numbers[KEEP];
        #pragma unroll
        for (int k = 0; k < KEEP; ++k)
            if (n + k * step < count) numbers[k] = widen(read(array + n + k * step));
        #pragma unroll
        for (int k = 0; k < KEEP; ++k)
            if (n + k * step < count) write(array + n + k * step, $type(numbers[k] * by));
    }
}
