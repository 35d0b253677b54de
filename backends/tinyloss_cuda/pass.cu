$before
#pragma unroll 1
for (int chunk = 0; chunk < $chunks; ++chunk) {
    $load
    #pragma unroll
    for (int k = 0; k < KEEP; ++k) {
        const auto lanes = $lanes;
        if (lanes.none()) continue;
        $declare
        #pragma unroll
        for (int lane = 0; lane < LANES; ++lane) {
            $elements
        }
        $add
    }
}
$after
