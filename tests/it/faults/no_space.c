/* A file system that is full, for one program: preloaded, it refuses to let files below a folder
 * grow while the file `no_space.<folder>` is in the working directory. Postgres works in its data
 * folder, and `base` there holds its tables. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static int is_full(int fd, off_t end)
{
	struct stat file;
	char link[64], path[4096];
	ssize_t length;

	if (access("no_space.base", F_OK) != 0 || fstat(fd, &file) != 0 || end <= file.st_size)
		return 0;
	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	length = readlink(link, path, sizeof path - 1);
	if (length < 0)
		return 0;
	path[length] = 0;
	return strstr(path, "/base/") != NULL;
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at)
{
	ssize_t (*real)(int, const void *, size_t, off_t) = dlsym(RTLD_NEXT, "pwrite");

	if (is_full(fd, at + (off_t) count)) {
		errno = ENOSPC;
		return -1;
	}
	return real(fd, bytes, count, at);
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at)
{
	ssize_t (*real)(int, const struct iovec *, int, off_t) = dlsym(RTLD_NEXT, "pwritev");
	off_t end = at;

	for (int i = 0; i < count; i++)
		end += (off_t) parts[i].iov_len;
	if (is_full(fd, end)) {
		errno = ENOSPC;
		return -1;
	}
	return real(fd, parts, count, at);
}

int posix_fallocate(int fd, off_t at, off_t length)
{
	int (*real)(int, off_t, off_t) = dlsym(RTLD_NEXT, "posix_fallocate");

	return is_full(fd, at + length) ? ENOSPC : real(fd, at, length);
}
