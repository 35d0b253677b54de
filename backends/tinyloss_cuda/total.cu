// The sum of the blocks' sums, in a fixed order, by one block.

extern "C" __global__ void __launch_bounds__(THREADS)
kernel($parameters) {
    SHARED(Exchange, exchange);
    Sum total;
    for (long long n = threadIdx.x; n < count; n += THREADS) total.merge(read(partial_sums + n));
    gather_block(exchange, 0, total);
    if (threadIdx.x == 0) write(value, $type($result));
}
