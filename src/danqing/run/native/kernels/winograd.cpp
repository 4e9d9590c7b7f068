// Convolution by a 3 x 3 kernel in fp32 by F(4 x 4, 3 x 3): 36 products in place of 144.
#include "winograd.h"

// The kernels are polynomials that are multiplied at 0, +-A, +-B and infinity. With A = 1/sqrt(2) and B = sqrt(2) the
// matrices hold no large numbers, and the answer is about four times as exact as with the usual 1 and 2.
constexpr float A = 0.70710678f, B = 1.41421356f, AA = 0.5f, BB = 2, SUM = AA + BB;

struct Fours : Singles {
    static constexpr int SIDE = 4, PART = 64, TILES = 8 * ROWS;
    static constexpr bool TURNS = true;

    static Vec part(int, const float* p, int64_t n) { return load(p, n); }
    static void join(float* p, const Vec (&parts)[1], int64_t) { store(p, parts[0]); }

    static void enter(const Vec* x, int s, Vec* y) {
        Vec p = x[4 * s] - set(BB) * x[2 * s], q = set(A) * (x[3 * s] - set(BB) * x[s]);
        Vec r = x[4 * s] - set(AA) * x[2 * s], t = set(B) * (x[3 * s] - set(AA) * x[s]);
        y[0] = x[0] + x[4 * s] - set(SUM) * x[2 * s];
        y[s] = p + q;
        y[2 * s] = p - q;
        y[3 * s] = r + t;
        y[4 * s] = r - t;
        y[5 * s] = x[s] + x[5 * s] - set(SUM) * x[3 * s];
    }

    static void turn(const Vec* x, int s, Vec* y, int t) {
        const Vec p = set(-2 / 3.0f) * x[0] - set(1 / 3.0f) * x[2 * s], q = set(2 * A / 3) * x[s];
        const Vec r = set(1 / 6.0f) * x[0] + set(1 / 3.0f) * x[2 * s], v = set(A / 3) * x[s];
        y[0] = x[0];
        y[t] = p - q;
        y[2 * t] = p + q;
        y[3 * t] = r + v;
        y[4 * t] = r - v;
        y[5 * t] = x[2 * s];
    }

    static void leave(const Vec* x, int s, Vec* y, int t) {
        Vec a = x[s] + x[2 * s], b = set(A) * (x[s] - x[2 * s]);
        Vec c = x[3 * s] + x[4 * s], d = set(B) * (x[3 * s] - x[4 * s]);
        y[0] = x[0] + a + c;
        y[t] = b + d;
        y[2 * t] = set(AA) * a + set(BB) * c;
        y[3 * t] = set(AA) * b + set(BB) * d + x[5 * s];
    }
};

EXPORT int panel() { return Winograd<Fours>::PANEL; }
EXPORT int convolution(const Convolution* a) { return Winograd<Fours>(*a).run(); }
