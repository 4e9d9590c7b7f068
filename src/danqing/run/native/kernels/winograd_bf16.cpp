// Convolution by a 3 x 3 kernel in bf16 by F(2 x 2, 3 x 3): 16 products in place of 36, summed in fp32.
#include "winograd.h"

// The kernels are polynomials that are multiplied at 0, +-1 and infinity: B and A hold 0 and +-1 alone, so that what is
// transformed is rounded once, as it is stored.
struct Twos : Halves {
    static constexpr int SIDE = 2, PART = 128;

    static void enter(const Vec* x, int s, Vec* y) {
        y[0] = x[0] - x[2 * s];
        y[s] = x[s] + x[2 * s];
        y[2 * s] = x[2 * s] - x[s];
        y[3 * s] = x[3 * s] - x[s];
    }

    static void leave(const Vec* x, int s, Vec* y, int t) {
        y[0] = x[0] + x[s] + x[2 * s];
        y[t] = x[s] - x[2 * s] + x[3 * s];
    }
};

EXPORT int panel() { return Winograd<Twos>::PANEL; }
EXPORT int convolution(const Convolution* a) { return Winograd<Twos>(*a).run(); }
