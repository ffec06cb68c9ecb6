// SPDX-License-Identifier: Apache-2.0
// Runs the steps of the product's spinning target once and ends: the same work as a command, for hyperfine.
#include <cstdlib>

#include "../../csrc/core/spin.hpp"

int main(int argc, char** argv) {
  if (argc != 2) {
    return 2;
  }
  pyperf::Spin spin(std::atoll(argv[1]));
  spin.submit();
  spin.wait();
  return 0;
}
