// bfloat16 for g++, as CUDA's header has it: rounded to nearest, ties to even, once.

#pragma once

struct __nv_bfloat16 {
    unsigned short bits;

    __nv_bfloat16() = default;
    __nv_bfloat16(float number) {
        const unsigned whole = unsigned(__float_as_int(number));
        bits = number != number ? 0x7fff : (whole + 0x7fff + (whole >> 16 & 1)) >> 16;
    }
    __nv_bfloat16(double number) : __nv_bfloat16(to_odd(number)) {}

    // A float that tells on which side of it the number lies: rounding it again is harmless.
    static float to_odd(double number) {
        const float near = float(number);
        const int bits = __float_as_int(near);
        if (double(near) == number || near != near || bits & 1) return near;
        const bool away = (double(near) < number) == (number > 0);
        return __int_as_float(away ? bits + 1 : bits - 1);
    }
};

inline float __bfloat162float(__nv_bfloat16 number) {
    return __int_as_float(int(number.bits) << 16);
}
