// SPDX-License-Identifier: Apache-2.0
#include "check.hpp"

#include <algorithm>
#include <exception>
#include <iostream>
#include <vector>

namespace pyperf::test {
namespace {

struct Test {
  std::string concept_name;
  std::string behaviour;
  std::function<void()> body;
};

std::vector<Test>& tests() {
  static std::vector<Test> all;
  return all;
}

int failed_checks = 0;

bool passes(const Test& test) {
  failed_checks = 0;
  try {
    test.body();
  } catch (const std::exception& error) {
    fail(test.behaviour.c_str(), 0, std::string("threw: ") + error.what());
  }
  std::cout << (failed_checks == 0 ? "ok      " : "FAILED  ") << test.concept_name << ": " << test.behaviour << "\n";
  return failed_checks == 0;
}

}  // namespace

void add_test(const char* concept_name, const char* behaviour, std::function<void()> body) {
  tests().push_back({concept_name, behaviour, std::move(body)});
}

void fail(const char* file, int line, const std::string& what) {
  ++failed_checks;
  constexpr int kMostPrinted = 10;
  if (failed_checks <= kMostPrinted) std::cout << file << ":" << line << ": " << what << "\n";
}

int run(const std::string& concept_name) {
  int run = 0;
  int failed = 0;
  for (const auto& test : tests()) {
    if (!concept_name.empty() && test.concept_name != concept_name) continue;
    ++run;
    failed += passes(test) ? 0 : 1;
  }
  std::cout << run << " tests, " << failed << " failed\n";
  constexpr int kNothingRan = 100;
  return run == 0 ? kNothingRan : std::min(failed, kNothingRan - 1);
}

}  // namespace pyperf::test

// core_tests [CONCEPT]
int main(int argc, char** argv) { return pyperf::test::run(argc > 1 ? argv[1] : ""); }
