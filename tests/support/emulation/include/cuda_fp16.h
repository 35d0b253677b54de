// float16 for g++, as CUDA's header has it: rounded to nearest, ties to even, once.

#pragma once

struct __half {
    unsigned short bits;

    __half() = default;
    __half(double number);
    __half(float number) : __half(double(number)) {}
};

inline float __half2float(__half half) {
    const unsigned sign = half.bits >> 15, exponent = half.bits >> 10 & 31;
    const unsigned fraction = half.bits & 1023;
    float size;
    if (exponent == 31)
        size = fraction ? __builtin_nanf("") : __builtin_inff();
    else if (exponent == 0)
        size = float(fraction) * 0x1p-24f;
    else
        size = float(1024 + fraction) * __int_as_float((exponent - 25 + 127) << 23);
    return sign ? -size : size;
}

inline __half::__half(double number) {
    const unsigned short sign = __builtin_signbit(number) ? 0x8000 : 0;
    const double size = __builtin_fabs(number);
    if (number != number) {
        bits = 0x7fff;
    } else if (size >= 65520.0) {  // halfway to the next power of 2
        bits = sign | 0x7c00;
    } else {
        // Adding a power of 2 rounds at the place of the last bit that float16 has here.
        int exponent = size < 0x1p-14 ? -14 : __builtin_ilogb(size);
        const double unit = __builtin_ldexp(1.0, exponent - 10), shift = unit * 0x1p52;
        const double rounded = (size + shift) - shift;
        const unsigned steps = unsigned(rounded / unit);
        bits = sign | (unsigned(exponent + 14 << 10) + steps);
    }
}
