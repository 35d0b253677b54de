$before
for (long long chunk = 0; chunk < $chunks; ++chunk) {
    $load
    #pragma unroll
    for (int k = 0; k < KEEP; ++k) {
        const Lanes lanes = $lanes;
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
