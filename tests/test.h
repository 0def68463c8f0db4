/* test.h - what every cmocka test includes, in the order cmocka wants. */
#ifndef HOSTEL_TESTS_TEST_H
#define HOSTEL_TESTS_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#endif
