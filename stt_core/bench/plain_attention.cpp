// Sparse temporal attention as one would write it down: the benchmark's yardstick, never shipped
// into the program's own path. query, out [Q, C]; key, value [F, rows * cols, C].
#include <algorithm>
#include <cmath>
#include <vector>

extern "C" void attend(const float* query, const float* key, const float* value,
                       const long long* positions, const long long* radii, float* out,
                       const long long* shape) {
  const long long Q = shape[0], C = shape[1], heads = shape[2], rows = shape[3], cols = shape[4],
                  F = shape[5], D = C / heads;
  const float scale = 1.0f / std::sqrt(static_cast<float>(D));
#pragma omp parallel
  {
    std::vector<float> weights;
#pragma omp for schedule(dynamic, 16)
    for (long long i = 0; i < Q; i++) {
      const long long y = positions[i] / cols, x = positions[i] % cols;
      for (long long h = 0; h < heads; h++) {
        const float* q = query + i * C + h * D;
        float* o = out + i * C + h * D;
        float top = -INFINITY, sum = 0;
        weights.clear();
        for (long long f = 0; f < F; f++)
          for (long long v = std::max(0LL, y - radii[f]); v <= std::min(rows - 1, y + radii[f]); v++)
            for (long long u = std::max(0LL, x - radii[f]); u <= std::min(cols - 1, x + radii[f]); u++) {
              const float* k = key + ((f * rows + v) * cols + u) * C + h * D;
              float dot = 0;
              for (long long d = 0; d < D; d++) dot += q[d] * k[d];
              weights.push_back(dot * scale);
              top = std::max(top, dot * scale);
            }
        for (float& w : weights) { w = std::exp(w - top); sum += w; }
        std::fill(o, o + D, 0.0f);
        const float* w = weights.data();
        for (long long f = 0; f < F; f++)
          for (long long v = std::max(0LL, y - radii[f]); v <= std::min(rows - 1, y + radii[f]); v++)
            for (long long u = std::max(0LL, x - radii[f]); u <= std::min(cols - 1, x + radii[f]); u++, w++) {
              const float* s = value + ((f * rows + v) * cols + u) * C + h * D;
              const float share = *w / sum;
              for (long long d = 0; d < D; d++) o[d] += share * s[d];
            }
      }
    }
  }
}
