$declare
#pragma unroll 1
for (index first = 0; first < classes; first += $terms) {
    $start
    const index end = classes - first < $terms ? classes : first + $terms;
    #pragma unroll 1
    for (index other = first; other < end; ++other) {
        $pair
    }
    $add
}
$results
