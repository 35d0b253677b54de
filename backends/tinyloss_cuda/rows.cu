// Rows of classes. A team of threads, or of whole blocks, shares a row; each pass goes over the
// packets of a thread, and what it sums is put together before the next.

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) $attributes
kernel($parameters) {
    SHARED(Exchange, exchange);
    int turn = 0;
    int me = member();
    Sum total;
    $uniform
    $start
    for (long long row = first_row(); row < table.items; row += rows_at_once()) {
        const Spot spot = spot_of(table, row);
        $row
        $passes
        $final
        if (me == 0) {
            $outputs
        }
    }
    $end
}
