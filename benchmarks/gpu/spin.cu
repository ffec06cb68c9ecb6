// SPDX-License-Identifier: Apache-2.0
// Kernels of one thread that tell the time on the device. Compiled for the very device by NVRTC (spin.py).

// Nanoseconds of the device's wall clock. Some devices step it by 32 ns, some by a microsecond.
__device__ __forceinline__ unsigned long long wall_ns() {
  unsigned long long now;
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now)::"memory");
  return now;
}

// Spins for so many clocks of its multiprocessor, and writes what it took by both clocks: three numbers a launch (wall
// clock at the begin and at the end, clocks in between), in the order of the launches, while there is room.
extern "C" __global__ void spin(long long clocks, unsigned long long* records, unsigned long long* launches,
                                unsigned long long room) {
  const unsigned long long begin_ns = wall_ns();
  const long long begin = clock64();
  long long now = begin;
  while (now - begin < clocks) now = clock64();
  const unsigned long long end_ns = wall_ns();
  const unsigned long long launch = (*launches)++;  // launches of one stream follow one another
  if (launch >= room) return;
  records[3 * launch] = begin_ns;
  records[3 * launch + 1] = end_ns;
  records[3 * launch + 2] = static_cast<unsigned long long>(now - begin);
}

// The steps that the wall clock makes, as one thread that only looks at it sees them; at most `looks` looks.
extern "C" __global__ void wall_clock_steps(unsigned long long* steps, unsigned long long room,
                                            unsigned long long looks) {
  unsigned long long before_ns = wall_ns();
  unsigned long long found = 0;
  for (unsigned long long look = 0; look < looks && found < room; ++look) {
    const unsigned long long now_ns = wall_ns();
    if (now_ns == before_ns) continue;
    steps[found++] = now_ns - before_ns;
    before_ns = now_ns;
  }
}
