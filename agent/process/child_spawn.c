/* fork and exec. PR_SET_PDEATHSIG fires when the forking *thread* ends, so all attached children
 * are forked by one thread that lives as long as the process. */
#include "agent/process/child_spawn.h"

#include "agent/process/child.h"
#include "base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* What a starting process tells its starter: its pid, then an errno if exec failed. */
struct report {
    pid_t pid;
    int failure;
};

static void reset_signals(void)
{
    struct sigaction standard = {.sa_handler = SIG_DFL};
    for (int number = 1; number < NSIG; number++)
        sigaction(number, &standard, NULL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* In the new process: only async-signal-safe calls from here to exec. */
static void __attribute__((noreturn)) become(const struct child_spawn *spawn, int report_fd)
{
    struct report report = {.pid = getpid()};
    reset_signals();
    int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    setsid();
    if (null_fd >= 0 && dup2(null_fd, STDIN_FILENO) >= 0 &&
        dup2(spawn->output_fd, STDOUT_FILENO) >= 0 &&
        dup2(spawn->complaint_fd, STDERR_FILENO) >= 0 &&
        close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC) == 0 &&
        (spawn->keep_fd < 0 || fcntl(spawn->keep_fd, F_SETFD, 0) == 0))
        execvp(spawn->argv[0], (char *const *)spawn->argv);
    report.failure = errno;
    (void)!write(report_fd, &report, sizeof report);
    _exit(127);
}

/* Signals stay blocked in the child until it has reset them, so that no handler of ours runs there.
 */
static pid_t fork_quietly(void)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    pid_t pid = fork();
    if (pid != 0) {
        int saved = errno;
        pthread_sigmask(SIG_SETMASK, &old, NULL);
        errno = saved;
    }
    return pid;
}

static bool read_report(int fd, struct report *report)
{
    ssize_t got;
    do
        got = read(fd, report, sizeof *report);
    while (got < 0 && errno == EINTR);
    return got == (ssize_t)sizeof *report;
}

static void reap(pid_t pid)
{
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
}

static bool exec_failed(const struct child_spawn *spawn, int failure, struct error *err)
{
    enum error_code code = failure == ENOENT ? ERROR_UNSUPPORTED : ERROR_INTERNAL;
    return error_set_errno(err, code, failure, "cannot run %s", spawn->argv[0]);
}

static bool spawn_here(const struct child_spawn *spawn, pid_t *pid, struct error *err)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return error_set_errno(err, ERROR_INTERNAL, errno, "pipe");
    auto_close int from = ends[0];
    auto_close int to = ends[1];
    pid_t parent = getpid();
    pid_t started = fork_quietly();
    if (started < 0)
        return error_set_errno(err, ERROR_INTERNAL, errno, "fork");
    if (started == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(127);
        become(spawn, to);
    }
    close(take_fd(&to));
    struct report report;
    if (read_report(from, &report)) {
        reap(started);
        return exec_failed(spawn, report.failure, err);
    }
    *pid = started;
    return true;
}

bool child_spawn_detached(const struct child_spawn *spawn, pid_t *pid, struct error *err)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return error_set_errno(err, ERROR_INTERNAL, errno, "pipe");
    auto_close int from = ends[0];
    auto_close int to = ends[1];
    pid_t between = fork_quietly();
    if (between < 0)
        return error_set_errno(err, ERROR_INTERNAL, errno, "fork");
    if (between == 0) {
        pid_t process = fork();
        if (process == 0)
            become(spawn, to);
        struct report report = {.pid = process, .failure = process < 0 ? errno : 0};
        (void)!write(to, &report, sizeof report);
        _exit(0);
    }
    close(take_fd(&to));
    reap(between);
    struct report report;
    pid_t process = -1;
    /* both reports may come in either order; the pipe ends at exec */
    while (read_report(from, &report)) {
        if (report.failure)
            return exec_failed(spawn, report.failure, err);
        process = report.pid;
    }
    if (process < 0)
        return error_set(err, ERROR_INTERNAL, "cannot run %s: its starter died", spawn->argv[0]);
    *pid = process;
    return true;
}

struct request {
    const struct child_spawn *spawn;
    pid_t pid;
    bool is_done, is_started;
    struct error error;
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool is_running;
    struct request *pending;
} spawner = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void *serve_spawns(void *unused)
{
    (void)unused;
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    pthread_mutex_lock(&spawner.lock);
    for (;;) {
        while (!spawner.pending)
            pthread_cond_wait(&spawner.changed, &spawner.lock);
        struct request *request = spawner.pending;
        request->is_started = spawn_here(request->spawn, &request->pid, &request->error);
        request->is_done = true;
        spawner.pending = NULL;
        pthread_cond_broadcast(&spawner.changed);
    }
    return NULL;
}

bool child_start_spawner(struct error *err)
{
    pthread_mutex_lock(&spawner.lock);
    pthread_t thread;
    int failure = spawner.is_running ? 0 : pthread_create(&thread, NULL, serve_spawns, NULL);
    if (!failure && !spawner.is_running) {
        pthread_detach(thread);
        spawner.is_running = true;
    }
    pthread_mutex_unlock(&spawner.lock);
    return failure ? error_set_errno(err, ERROR_INTERNAL, failure, "spawner thread") : true;
}

bool child_spawn_attached(const struct child_spawn *spawn, pid_t *pid, struct error *err)
{
    if (!child_start_spawner(err))
        return false;
    struct request request = {.spawn = spawn};
    pthread_mutex_lock(&spawner.lock);
    while (spawner.pending)
        pthread_cond_wait(&spawner.changed, &spawner.lock);
    spawner.pending = &request;
    pthread_cond_broadcast(&spawner.changed);
    while (!request.is_done)
        pthread_cond_wait(&spawner.changed, &spawner.lock);
    pthread_mutex_unlock(&spawner.lock);
    if (!request.is_started) {
        *err = request.error;
        return false;
    }
    *pid = request.pid;
    return true;
}
