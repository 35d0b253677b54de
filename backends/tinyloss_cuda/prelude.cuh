// What the kernels are made of: packets of numbers, sums, and the threads that share a row.
//
// Ahead of this text stand the types and sizes of one kernel:
//
//     real        the type computed in, float or double
//     THREADS     threads of a block
//     TEAM        threads of a block that share a row
//     CLUSTER     blocks that share a row
//     LANES       numbers in a packet
//     KEEP        packets that a thread has in its registers at a time
//     OUTER       dimensions of the items that do not merge into one
//     WHOLE       whether no packet sticks out of its run
//     FULL        packets that each thread has of a row, at least
//     BLOCKS      blocks that a multiprocessor has at a time, at least
//     ARRAYS      arrays
//     PARTS       sums and maxima that are put together at once, at most

// An emulator may look at each access to memory that threads share.
#ifndef SHARED
#define SHARED(type, name) __shared__ type name
#define TOUCH(pointer, bytes, writing)
#endif

#define INLINE __device__ __forceinline__
#define WARPS (THREADS / 32)
#define CHUNK (KEEP * TEAM * CLUSTER * LANES)

namespace tinyloss {

// --------------------------------------------------------------------------------------- numbers

typedef int index;

#define inf real(__int_as_float(0x7f800000))
#define nan real(__int_as_float(0x7fffffff))

// CUDA's own types would need its headers, which not every installation has. An emulator has its own.
#ifndef HALVES
struct float16 {
    unsigned short bits;

    float16() = default;
    INLINE float16(float number) { asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(number)); }
    INLINE float16(double number) { asm("cvt.rn.f16.f64 %0, %1;" : "=h"(bits) : "d"(number)); }
    INLINE operator float() const {
        float number;
        asm("cvt.f32.f16 %0, %1;" : "=f"(number) : "h"(bits));
        return number;
    }
};

struct bfloat16 {
    unsigned short bits;

    bfloat16() = default;
    INLINE bfloat16(float number) {
#if __CUDA_ARCH__ >= 800
        asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(number));
#else
        const unsigned whole = unsigned(__float_as_int(number));
        bits = number != number ? 0x7fff : (whole + 0x7fff + (whole >> 16 & 1)) >> 16;
#endif
    }
    INLINE bfloat16(double number) : bfloat16(to_odd(number)) {}
    INLINE operator float() const { return __int_as_float(int(bits) << 16); }

    // A float that tells on which side of it the number is: to round it again is harmless.
    static INLINE float to_odd(double number) {
        const float cut = __double2float_rz(number);
        return double(cut) == number ? cut : __int_as_float(__float_as_int(cut) | 1);
    }
};
#endif

template <class T> INLINE real widen(T number) { return real(number); }
INLINE real widen(float16 number) { return real(float(number)); }
INLINE real widen(bfloat16 number) { return real(float(number)); }

INLINE real abs(real x) { return ::fabs(x); }
INLINE bool isnan(real x) { return x != x; }
INLINE bool isinf(real x) { return abs(x) == inf; }
INLINE bool isfinite(real x) { return abs(x) < inf; }
INLINE bool logical_and(bool a, bool b) { return a && b; }
INLINE bool logical_or(bool a, bool b) { return a || b; }
INLINE bool logical_not(bool a) { return !a; }

// NaN if either is.
template <class T> INLINE T maximum(T a, T b) { return a != a ? a : a > b ? a : b; }
template <class T> INLINE T minimum(T a, T b) { return a != a ? a : a < b ? a : b; }
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
INLINE float maximum(float a, float b) {
    float larger;
    asm("max.NaN.f32 %0, %1, %2;" : "=f"(larger) : "f"(a), "f"(b));
    return larger;
}
INLINE float minimum(float a, float b) {
    float smaller;
    asm("min.NaN.f32 %0, %1, %2;" : "=f"(smaller) : "f"(a), "f"(b));
    return smaller;
}
#endif

template <class T> INLINE T where(bool condition, T a, T b) { return condition ? a : b; }

// powf may be off by 4 units in the last place.
INLINE float pow(float x, float y) { return float(::pow(double(x), double(y))); }
INLINE double pow(double x, double y) { return ::pow(x, y); }

// ---- What `tinyloss.compiler.ranges` allows: a smaller range, less to do.

INLINE real log1p_unit(real x) { return ::log1p(x); }
INLINE real exp_negative(real x) { return ::exp(x); }

// exp(x - m) as if x - m were not rounded, by the rounding error of a difference (TwoSum).
INLINE real exp_difference(real x, real m) {
    const real d = x - m, u = d - x, e = ::exp(d);
    return abs(d) < real(1e18) ? e + e * ((x - (d - u)) - (m + u)) : e;
}

// 2^x by the device's own instruction: 2 units in the last place, for |x| <= 1/2.
INLINE float exp2_of(float x) {
#ifdef __CUDA_ARCH__
    float power;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(x));
    return power;
#else
    return ::exp2f(x);
#endif
}

// The same, x never above m: x - m = n ln 2 + r. Where m is small, m + n ln 2 is exact with the 14
// leading bits of ln 2, once m has lost its last bits, and near x. Where m is large, x - m is exact
// or its exponential 0. What depends on m alone is computed once for a row.
INLINE float exp_shortfall(float x, float m) {
    const float log2_e = 1.44269504f;
    const float shift = 12582912.0f + (127 + 64);  // 1.5 2^23 rounds to an integer; 2^64 lifts
    const bool small = ::fabsf(m) < 256.0f;
    const float coarse = (m + 768.0f) - 768.0f;
    const float a = small ? 0.0f : m, b = small ? m : 0.0f;
    const float near = small ? coarse : 0.0f, rest = small ? (coarse - m) * log2_e : 0.0f;
    const float above = maximum(x - a, small ? m - 104.0f : -104.0f);
    const float t = ::fmaf(above - b, log2_e, shift), n = t - shift;
    const float leading = above - ::fmaf(n, 0.69317626953125f, near);
    const float r = ::fmaf(leading, log2_e, ::fmaf(n, 4.196651464583846e-05f, rest));  // in powers of 2
    const float power = __int_as_float(__float_as_int(t) << 23);
    return exp2_of(r) * power * 5.421010862427522e-20f;  // 2^-64
}
INLINE double exp_shortfall(double x, double m) { return exp_difference(real(x), real(m)); }

// For results of half precision: the exponential of what is never positive, within 2^-17 of itself.
INLINE float coarse_exp_negative(float x) {
    return exp2_of(::fmaf(x, 1.44269504f, 64.0f)) * 5.421010862427522e-20f;  // 2^-64
}
INLINE float coarse_exp_shortfall(float x, float m) { return coarse_exp_negative(x - m); }

// A class index, -1 where it names no class.
template <class T> INLINE index label(T value, long long classes) {
    return value >= 0 && value < classes ? index(value) : index(-1);
}

// ------------------------------------------------------------------------------- arrays in memory

struct Steps {
    long long item, number, outer[OUTER + 1];
};

// How a kernel goes over its arrays: lengths, and for each array its steps in bytes.
struct Table {
    long long classes, inner, items, tiles, tiles_per_run, outer[OUTER + 1];
    Steps arrays[ARRAYS];
};

// The place of an item: its number along the inner length, and along each outer dimension.
struct Spot {
    long long inner, outer[OUTER + 1];

    INLINE Spot(const Table& table, long long run, long long inner) : inner(inner) {
        for (int k = OUTER - 1; k >= 0; --k) {
            const long long rest = run / table.outer[k];
            outer[k] = run - rest * table.outer[k];
            run = rest;
        }
    }
};

INLINE Spot spot_of(const Table& table, long long item) {
    const long long run = OUTER ? item / table.inner : 0;
    return Spot(table, run, item - run * table.inner);
}

// By pointers alone: from an integer the compiler could not tell that memory is global.
template <class T> INLINE T* along(T* start, long long bytes) {
    return (T*)((char*)start + bytes);
}

// Where a spot lies in an array.
template <class T> INLINE T* at(T* start, const Steps& steps, const Spot& spot) {
    long long bytes = spot.inner * steps.item;
    for (int k = 0; k < OUTER; ++k) bytes += spot.outer[k] * steps.outer[k];
    return along(start, bytes);
}

template <class T> INLINE T read(const T* from) {
    TOUCH(from, sizeof(T), false);
    return *from;
}

template <class T> INLINE void write(T* to, T number) {
    TOUCH(to, sizeof(T), true);
    *to = number;
}

// --------------------------------------------------------------------------------------- packets

// A packet in one instruction: left to itself the compiler writes it number by number.
template <class Word> INLINE Word read_word(const Word* from) {
    TOUCH(from, sizeof(Word), false);
    return __ldcg(from);
}

template <class Word> INLINE void write_word(Word* to, Word word) {
    TOUCH(to, sizeof(Word), true);
    __stcg(to, word);
}

// Which numbers of a run a packet's lanes hold. The first and the last packet may stick out. Count
// is int in a row: half the registers.
template <class Count> struct Lanes {
    Count first;
    unsigned held;

    INLINE Lanes(Count first, Count length, bool full = false) : first(first) {
        if (WHOLE || full) {
            held = full || first < length ? (1u << LANES) - 1 : 0;
            return;
        }
        const int low = first < 0 ? int(-first) : 0;
        const int high = length - first < LANES ? int(length - first) : LANES;
        held = low < high ? ((1u << high) - 1) & ~((1u << low) - 1) : 0;
    }
    INLINE bool none() const { return held == 0; }
    INLINE bool whole() const { return WHOLE ? held != 0 : held == (1u << LANES) - 1; }
    INLINE bool holds(int lane) const { return WHOLE || held >> lane & 1; }
};

// Whether packet k of each thread lies within the row, so that nothing asks and packets are computed
// side by side. One in 16 numbers is asked nevertheless: without a branch between, ptxas has so many
// at work that it spills.
INLINE constexpr bool is_full(int k) {
    return k < FULL && (WHOLE || k > 0) && (k + 1) % (16 / LANES) != 0;
}

// How many numbers before a run the packet begins that holds its first: packets are aligned.
template <class T> INLINE int lead(const T* run) {
    return int(reinterpret_cast<unsigned long long>(run) / sizeof(T) % LANES);
}

template <int BYTES> struct Word;
template <> struct Word<1> { typedef unsigned char type; };
template <> struct Word<2> { typedef unsigned short type; };
template <> struct Word<4> { typedef unsigned type; };
template <> struct Word<8> { typedef uint2 type; };
template <> struct Word<16> { typedef uint4 type; };

template <class T> struct Packet {
    enum { BYTES = LANES * sizeof(T) < 16 ? LANES * sizeof(T) : 16 };
    typedef typename Word<BYTES>::type type;
    enum { WORDS = LANES * sizeof(T) / BYTES };

    union {
        T lane[LANES];
        type word[WORDS];
    };

    INLINE Packet() {}
};

// Numbers that lie in packets: as few words as can be, where the packet lies within its run.
template <class T, class Count> INLINE Packet<T> load(const T* run, const Lanes<Count>& lanes) {
    Packet<T> packet;
    const T* from = run + lanes.first;
    if (lanes.whole()) {
        #pragma unroll
        for (int n = 0; n < Packet<T>::WORDS; ++n)
            packet.word[n] = read_word((const typename Packet<T>::type*)from + n);
    } else if (!WHOLE) {
        #pragma unroll
        for (int lane = 0; lane < LANES; ++lane)
            packet.lane[lane] = lanes.holds(lane) ? read(from + lane) : T(0.0f);
    }
    return packet;
}

template <class T, class Count>
INLINE void store(T* run, const Lanes<Count>& lanes, const Packet<T>& packet) {
    T* to = run + lanes.first;
    if (lanes.whole()) {
        #pragma unroll
        for (int n = 0; n < Packet<T>::WORDS; ++n)
            write_word((typename Packet<T>::type*)to + n, packet.word[n]);
    } else if (!WHOLE) {
        #pragma unroll
        for (int lane = 0; lane < LANES; ++lane)
            if (lanes.holds(lane)) write(to + lane, packet.lane[lane]);
    }
}

// Numbers that lie apart, or in packets of their own.
template <class T, class Count>
INLINE Packet<T> load(const T* run, const Lanes<Count>& lanes, long long step) {
    Packet<T> packet;
    if (lanes.none()) return packet;
    #pragma unroll
    for (int lane = 0; lane < LANES; ++lane)
        packet.lane[lane] =
            lanes.holds(lane) ? read(along(run, (lanes.first + lane) * step)) : T(0.0f);
    return packet;
}

template <class T, class Count>
INLINE void store(T* run, const Lanes<Count>& lanes, const Packet<T>& packet, long long step) {
    #pragma unroll
    for (int lane = 0; lane < LANES; ++lane)
        if (lanes.holds(lane)) write(along(run, (lanes.first + lane) * step), packet.lane[lane]);
}

// ------------------------------------------------------------------------------- sums and maxima

// The lanes of a warp that take part where `width` neighbours ask each other.
INLINE unsigned team_of_lane(int width) {
    return width == 32 ? 0xffffffff : ((1u << width) - 1) << (threadIdx.x % 32 & ~(width - 1u));
}

// A number of another thread of the warp.
template <class T> INLINE T from_lane(T number, int step, int width) {
    return __shfl_xor_sync(team_of_lane(width), number, step);
}

struct Largest {
    real value = -inf;

    INLINE void take(real number) { value = maximum(value, number); }
    INLINE void merge(const Largest& other) { take(other.value); }
    INLINE Largest from(int step, int width) const {
        return Largest{from_lane(value, step, width)};
    }
    INLINE real result() const { return value; }
};

template <class T> struct SumOf;

// float terms are added in double.
template <> struct SumOf<float> {
    double total = 0;

    INLINE void take(float term) { total += term; }
    INLINE void merge(const SumOf& other) { total += other.total; }
    INLINE SumOf from(int step, int width) const { return SumOf{from_lane(total, step, width)}; }
    INLINE double result() const { return total; }
};

// double terms with the rounding error of each addition kept beside: TwoSum (Knuth, The Art of
// Computer Programming 2, 4.2.2).
template <> struct SumOf<double> {
    double total = 0, rest = 0;

    INLINE void take(double term) {
        const double sum = total + term, part = sum - total;
        rest += (total - (sum - part)) + (term - part);
        total = sum;
    }
    INLINE void merge(const SumOf& other) {
        const double both = rest + other.rest;
        rest = 0;
        take(other.total);
        rest = both + rest;
    }
    INLINE SumOf from(int step, int width) const {
        return SumOf{from_lane(total, step, width), from_lane(rest, step, width)};
    }
    // the error of an infinite sum is NaN
    INLINE double result() const { return ::fabs(total) < inf ? total + rest : total; }
};

typedef SumOf<real> Sum;

// The terms of a packet, joined in pairs, these in pairs, and so on: no term waits for all before.
template <class Join> INLINE real joined(const real (&terms)[LANES], Join join) {
    real some[LANES];
    #pragma unroll
    for (int lane = 0; lane < LANES; ++lane) some[lane] = terms[lane];
    #pragma unroll
    for (int step = LANES / 2; step > 0; step /= 2)
        #pragma unroll
        for (int lane = 0; lane < step; ++lane) some[lane] = join(some[lane], some[lane + step]);
    return some[0];
}

// Adding eight numbers rounds three times, 1.5 eps at most. Widening each would cost more than all
// else about it.
INLINE void add(Sum& sum, const real (&terms)[LANES]) {
    sum.take(joined(terms, [](real a, real b) { return a + b; }));
}
INLINE void add(Largest& largest, const real (&terms)[LANES]) {
    largest.take(joined(terms, [](real a, real b) { return maximum(a, b); }));
}

// ----------------------------------------------------------------- the threads that share a row

#if CLUSTER > 1
INLINE int block_of_row() { return int(__clusterRelativeBlockRank()); }
INLINE void wait_for_row() {
    __cluster_barrier_arrive();
    __cluster_barrier_wait();
}
template <class T> INLINE T* of_block(T* shared, int block) {
    return static_cast<T*>(__cluster_map_shared_rank(shared, block));
}
#else
INLINE int block_of_row() { return 0; }
INLINE void wait_for_row() {
    if (TEAM > 32) __syncthreads();
    else __syncwarp(team_of_lane(TEAM));
}
template <class T> INLINE T* of_block(T* shared, int block) { return shared; }
#endif

// A thread's number among those that share its row.
INLINE int member() { return block_of_row() * TEAM + int(threadIdx.x % TEAM); }
// Have the compiler compute anew what follows from a number, instead of keeping it in registers.
#ifdef __CUDA_ARCH__
INLINE void forget(int& number) { asm volatile("" : "+r"(number)); }
INLINE void forget(float& number) { asm volatile("" : "+f"(number)); }
INLINE void forget(double& number) { asm volatile("" : "+d"(number)); }
#else
template <class T> INLINE void forget(T&) {}
#endif

INLINE long long first_row() {
    return (long long)(blockIdx.x / CLUSTER) * (THREADS / TEAM) + threadIdx.x / TEAM;
}
INLINE long long rows_at_once() { return (long long)(gridDim.x / CLUSTER) * (THREADS / TEAM); }

// Where warps lay down their parts of what is put together.
struct Exchange {
    struct alignas(16) Slot {
        double numbers[2];
    };
    Slot slots[2][PARTS][CLUSTER * WARPS];
};

template <class Part> INLINE void put(Exchange::Slot* slots, int at, const Part& part) {
    write(reinterpret_cast<Part*>(slots + at), part);
}

template <class Part> INLINE void across_lanes(Part& part, int width) {
    for (int step = width / 2; step > 0; step /= 2) part.merge(part.from(step, width));
}

template <class Part> INLINE void across_warps(Part& part, const Exchange::Slot* slots, int count) {
    part = Part();
    for (int n = threadIdx.x % 32; n < count; n += 32)
        part.merge(read(reinterpret_cast<const Part*>(slots + n)));
    across_lanes(part, 32);
}

// Put together what the threads of a row have, so that all of them have it, to the same bits.
// Slots are used in turn: who writes to them again has waited once since they were read.
template <class... Parts> INLINE void gather(Exchange& exchange, int& turn, Parts&... parts) {
    (across_lanes(parts, TEAM < 32 ? TEAM : 32), ...);
    if (TEAM * CLUSTER <= 32) {
        wait_for_row();  // shuffles alone order no memory
        return;
    }
    const int lane = threadIdx.x % 32, warp = block_of_row() * WARPS + threadIdx.x / 32;
    if (lane < CLUSTER) {
        int number = 0;
        (put(of_block(exchange.slots[turn][number++], lane), warp, parts), ...);
    }
    wait_for_row();
    int number = 0;
    (across_warps(parts, exchange.slots[turn][number++], CLUSTER * WARPS), ...);
    turn = 1 - turn;
}

// The sum over a block, for its thread 0.
INLINE void gather_block(Exchange& exchange, int turn, Sum& total) {
    across_lanes(total, 32);
    if (threadIdx.x % 32 == 0) put(exchange.slots[turn][0], threadIdx.x / 32, total);
    __syncthreads();
    if (threadIdx.x < 32) across_warps(total, exchange.slots[turn][0], WARPS);
}

}  // namespace tinyloss
