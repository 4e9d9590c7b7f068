// Work shared out to the threads that torch computes with, and memory for it.
#pragma once
#include <immintrin.h>

#include <cstdint>
#include <cstdlib>

#define EXPORT extern "C" __attribute__((visibility("default")))

// GOMP_parallel of the OpenMP that torch has loaded: runs body(data) once in each of `threads` threads, this one among
// them. Null where there is none; then one thread does everything.
typedef void (*Pool)(void (*body)(void*), void* data, unsigned threads, unsigned flags);

// While it lives, numbers of this thread below 2^-126 are zeros: processors take fifty times as long for what they call
// denormal, which is what gates and weights of real networks decay to.
struct Flushed {
    const unsigned before = _mm_getcsr();
    Flushed() { _mm_setcsr(before | 0x8040); }
    ~Flushed() { _mm_setcsr(before); }
};

// Does task(i) for every i < count, each once, in no order: tasks must not depend on each other, so that a result does
// not depend on the number of threads.
template <class Task> void parallel(Pool pool, int64_t threads, int64_t count, const Task& task) {
    if (!pool || threads < 2 || count < 2) {
        const Flushed flushed;
        for (int64_t i = 0; i < count; i++) task(i);
        return;
    }
    struct Shared {
        const Task& task;
        int64_t count, next;
    } shared{task, count, 0};
    pool(
        [](void* data) {
            const Flushed flushed;
            auto& shared = *(Shared*)data;
            for (;;) {
                int64_t i = __atomic_fetch_add(&shared.next, 1, __ATOMIC_RELAXED);
                if (i >= shared.count) return;
                shared.task(i);
            }
        },
        &shared, (unsigned)(threads < count ? threads : count), 0);
}

// Memory on a cache line's border, freed at the end of the scope; null where there is none left.
template <class T> struct Buffer {
    T* data;
    explicit Buffer(size_t count) : data((T*)aligned_alloc(64, (count * sizeof(T) + 63) / 64 * 64 + 64)) {}
    Buffer(const Buffer&) = delete;
    ~Buffer() { free(data); }
};
