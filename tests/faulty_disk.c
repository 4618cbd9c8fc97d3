/* A disk that fails, for tests: LD_PRELOAD this into a process. FAULTY_DISK names a file; while that file holds
 * "WHAT PREFIX", calls on files whose path begins with PREFIX fail or hang:
 *   EIO, EROFS, ENOSPC   whatever writes fails with that error
 *   HANG                 reading blocks, as a card reader that has died does
 *   STUCK                whatever writes blocks
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static int fault(const char *path, int reads) {
  const char *control = getenv("FAULTY_DISK");
  char said[PATH_MAX + 16] = {0}, what[16] = {0}, prefix[PATH_MAX] = {0};
  int file;
  if (!control || (file = syscall(SYS_openat, AT_FDCWD, control, O_RDONLY | O_CLOEXEC)) < 0) return 0;
  syscall(SYS_read, file, said, sizeof said - 1);
  syscall(SYS_close, file);
  if (sscanf(said, "%15s %4095s", what, prefix) != 2 || strncmp(path, prefix, strlen(prefix))) return 0;
  if (reads) {
    if (!strcmp(what, "HANG")) for (;;) pause();
    return 0;
  }
  if (!strcmp(what, "STUCK")) for (;;) pause();
  return !strcmp(what, "EIO") ? EIO : !strcmp(what, "EROFS") ? EROFS : !strcmp(what, "ENOSPC") ? ENOSPC : 0;
}

static int fault_of(int file, int reads) {
  char link[64], path[PATH_MAX] = {0};
  int saved = errno, found = 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  if (syscall(SYS_readlinkat, AT_FDCWD, link, path, sizeof path - 1) > 0 && path[0] == '/') found = fault(path, reads);
  errno = saved;
  return found;
}

#define REAL(name) ((typeof(&name))dlsym(RTLD_NEXT, #name))
#define ON_FILE(type, name, reads, parameters, arguments)                       \
  type name parameters {                                                        \
    int found = fault_of(file, reads);                                          \
    if (found) { errno = found; return -1; }                                    \
    return REAL(name) arguments;                                                \
  }

ON_FILE(ssize_t, write, 0, (int file, const void *from, size_t size), (file, from, size))
ON_FILE(ssize_t, pwrite, 0, (int file, const void *from, size_t size, off_t at), (file, from, size, at))
ON_FILE(ssize_t, pwrite64, 0, (int file, const void *from, size_t size, off64_t at), (file, from, size, at))
ON_FILE(ssize_t, writev, 0, (int file, const struct iovec *from, int count), (file, from, count))
ON_FILE(int, fsync, 0, (int file), (file))
ON_FILE(int, fdatasync, 0, (int file), (file))
ON_FILE(int, ftruncate, 0, (int file, off_t size), (file, size))
ON_FILE(int, ftruncate64, 0, (int file, off64_t size), (file, size))
ON_FILE(ssize_t, read, 1, (int file, void *into, size_t size), (file, into, size))

#define ON_OPEN(name)                                                           \
  int name(const char *path, int flags, ...) {                                  \
    va_list rest;                                                               \
    va_start(rest, flags);                                                      \
    mode_t mode = (flags & O_CREAT) ? va_arg(rest, mode_t) : 0;                 \
    va_end(rest);                                                               \
    int found = (flags & (O_WRONLY | O_RDWR | O_CREAT)) ? fault(path, 0) : 0;   \
    if (found) { errno = found; return -1; }                                    \
    return REAL(name)(path, flags, mode);                                       \
  }
ON_OPEN(open)
ON_OPEN(open64)
