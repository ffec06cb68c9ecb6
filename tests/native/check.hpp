// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <sstream>
#include <string>

// TEST(concept, behaviour) { CHECK(...); CHECK_EQUAL(got, wanted); CHECK_THROWS(Type, expression); }
// A failed check is printed with its values and the test goes on; the program's exit code counts failed tests.
namespace pyperf::test {

void add_test(const char* concept_name, const char* behaviour, std::function<void()> body);
void fail(const char* file, int line, const std::string& what);

struct Registered {
  Registered(const char* concept_name, const char* behaviour, std::function<void()> body) {
    add_test(concept_name, behaviour, std::move(body));
  }
};

template <class Got, class Wanted>
void check_equal(const char* file, int line, const char* text, const Got& got, const Wanted& wanted) {
  if (got == wanted) return;
  std::ostringstream what;
  what << text << " is " << got << ", not " << wanted;
  fail(file, line, what.str());
}

template <class Exception, class Body>
void check_throws(const char* file, int line, const char* text, Body body) {
  try {
    body();
  } catch (const Exception&) {
    return;
  }
  fail(file, line, std::string(text) + " did not throw");
}

}  // namespace pyperf::test

#define TEST(concept_name, behaviour)                                                                           \
  static void test_##behaviour();                                                                               \
  static const ::pyperf::test::Registered registered_##behaviour(#concept_name, #behaviour, &test_##behaviour); \
  static void test_##behaviour()

#define CHECK(condition) \
  if (!(condition)) ::pyperf::test::fail(__FILE__, __LINE__, #condition)
#define CHECK_EQUAL(got, wanted) ::pyperf::test::check_equal(__FILE__, __LINE__, #got, got, wanted)
#define CHECK_THROWS(Exception, expression) \
  ::pyperf::test::check_throws<Exception>(__FILE__, __LINE__, #expression, [&] { (void)(expression); })
