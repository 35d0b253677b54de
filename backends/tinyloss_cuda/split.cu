// Numbers in half precision, and behind all of these what rounding each has left.

extern "C" __global__ void __launch_bounds__(THREADS)
kernel(const $real* numbers, $type* parts, const long long count) {
    const long long step = (long long)gridDim.x * THREADS;
    for (long long n = (long long)blockIdx.x * THREADS + threadIdx.x; n < count; n += step) {
        const $real number = numbers[n];
        const $type high = $type(number);
        parts[n] = high;
        parts[count + n] = $type(number - $real(float(high)));
    }
}
