/* A clock that is CLOCK_AHEAD seconds ahead, for one program: preloaded, it moves the calendar
 * only. The monotonic clock stays, and with it every timeout of Postgres and the JVM. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

static long ahead;
static int (*real_clock)(clockid_t, struct timespec *);

__attribute__((constructor)) static void prepare(void)
{
	const char *seconds = getenv("CLOCK_AHEAD");

	real_clock = dlsym(RTLD_NEXT, "clock_gettime");
	ahead = seconds ? atol(seconds) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
	if (!real_clock)
		prepare();
	int failed = real_clock(clock, now);

	if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
		now->tv_sec += ahead;
	return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
	struct timespec precise;

	(void) zone;
	if (clock_gettime(CLOCK_REALTIME, &precise))
		return -1;
	now->tv_sec = precise.tv_sec;
	now->tv_usec = precise.tv_nsec / 1000;
	return 0;
}

time_t time(time_t *now)
{
	struct timespec precise;

	clock_gettime(CLOCK_REALTIME, &precise);
	if (now)
		*now = precise.tv_sec;
	return precise.tv_sec;
}
