// Losses of elements. A block takes one tile after the other: packets in, value and derivatives
// from the program, packets out.

extern "C" __global__ void __launch_bounds__(THREADS, 1)
kernel($parameters) {
    SHARED(Exchange, exchange);
    const int turn = 0;
    Sum total;
    $uniform
    for (long long tile = blockIdx.x; tile < table.tiles; tile += gridDim.x) {
        const long long run = OUTER ? tile / table.tiles_per_run : 0;
        const Spot spot(table, run, 0);
        const long long begin = (tile - run * table.tiles_per_run) * (THREADS * KEEP * LANES);
        $row
        $passes
    }
    $end
}
