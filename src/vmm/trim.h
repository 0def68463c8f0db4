/*
 * trim.h - gives back what only starting a guest needed.
 */
#ifndef HOSTEL_VMM_TRIM_H
#define HOSTEL_VMM_TRIM_H

/*
 * Code pages, of which a start touches many that a running guest never does,
 * and free heap.  What is needed after all comes from the page cache.
 */
void trim_memory(void);
/* For all threads made from now on: stacks too small for a huge page. */
void trim_stacks(void);

#endif
