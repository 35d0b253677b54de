// float16 and bfloat16 for g++, as CUDA has them: rounded to nearest, ties to even, once.

#pragma once

#define HALVES

namespace tinyloss {

struct float16 {
    unsigned short bits;

    float16() = default;
    float16(double number);
    float16(float number) : float16(double(number)) {}
    operator float() const;
};

inline float16::operator float() const {
    const unsigned sign = bits >> 15, exponent = bits >> 10 & 31;
    const unsigned fraction = bits & 1023;
    float size;
    if (exponent == 31)
        size = fraction ? __builtin_nanf("") : __builtin_inff();
    else if (exponent == 0)
        size = float(fraction) * 0x1p-24f;
    else
        size = float(1024 + fraction) * __int_as_float((exponent - 25 + 127) << 23);
    return sign ? -size : size;
}

inline float16::float16(double number) {
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

struct bfloat16 {
    unsigned short bits;

    bfloat16() = default;
    bfloat16(float number) {
        const unsigned whole = unsigned(__float_as_int(number));
        bits = number != number ? 0x7fff : (whole + 0x7fff + (whole >> 16 & 1)) >> 16;
    }
    bfloat16(double number) : bfloat16(to_odd(number)) {}

    operator float() const { return __int_as_float(int(bits) << 16); }

    // A float that tells on which side of it the number lies: rounding it again is harmless.
    static float to_odd(double number) {
        const float near = float(number);
        const int bits = __float_as_int(near);
        if (double(near) == number || near != near || bits & 1) return near;
        const bool away = (double(near) < number) == (number > 0);
        return __int_as_float(away ? bits + 1 : bits - 1);
    }
};

}
