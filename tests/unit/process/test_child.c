/* Child processes: what they leave, how they end, what is said of them. */
#include "agent/process/child.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/memory.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

static char folder[] = "/tmp/child-test-XXXXXX";

static void make_folder(void)
{
    cr_assert(mkdtemp(folder));
}
static void remove_folder(void)
{
    struct error err;
    cr_assert(file_remove_tree(folder, &err), "%s", err.text);
}
TestSuite(child, .init = make_folder, .fini = remove_folder, .timeout = 60);

static char *in_folder(const char *name)
{
    return memory_format("%s/%s", folder, name);
}

/* A process is gone when it is not there or is a zombie that pid 1 has not reaped. */
static bool is_gone(pid_t pid)
{
    auto_free char *path = memory_format("/proc/%d/stat", pid);
    auto_free char *text = NULL;
    struct error err;
    if (!file_read(path, 4096, &text, NULL, &err))
        return true;
    const char *state = strrchr(text, ')');
    return state && state[2] == 'Z';
}

static bool becomes_gone(pid_t pid)
{
    for (int i = 0; i < 500; i++) {
        if (is_gone(pid))
            return true;
        clock_sleep_ms(10);
    }
    return false;
}

static pid_t read_pid(const char *path)
{
    for (int i = 0; i < 500; i++) {
        auto_free char *text = NULL;
        struct error err;
        if (file_read(path, 64, &text, NULL, &err) && strchr(text, '\n'))
            return (pid_t)strtol(text, NULL, 10);
        clock_sleep_ms(10);
    }
    return -1;
}

Test(child, run_returns_standard_output)
{
    struct error err;
    auto_free char *text = NULL;
    const char *argv[] = {"printf", "a\\nb", NULL};
    cr_assert(child_run(argv, 5000, 100, &text, &err), "%s", err.text);
    cr_assert_str_eq(text, "a\nb");
}

Test(child, run_reports_status_and_first_line_of_stderr)
{
    struct error err;
    const char *argv[] = {"sh", "-c", "echo first >&2; echo second >&2; exit 3", NULL};
    cr_assert_not(child_run(argv, 5000, 100, NULL, &err));
    cr_assert_str_eq(err.text, "sh ended with 3: first");
}

Test(child, run_of_a_missing_program_is_unsupported)
{
    struct error err;
    const char *argv[] = {"no-such-program-here", NULL};
    cr_assert_not(child_run(argv, 5000, 100, NULL, &err));
    cr_assert_eq(err.code, ERROR_UNSUPPORTED);
    cr_assert_str_eq(err.text, "cannot run no-such-program-here: No such file or directory");
}

Test(child, run_refuses_more_output_than_the_limit_and_kills)
{
    struct error err;
    const char *argv[] = {"yes", NULL};
    cr_assert_not(child_run(argv, 5000, 1000, NULL, &err));
    cr_assert_eq(err.code, ERROR_NO_SPACE);
    cr_assert_eq(waitpid(-1, NULL, WNOHANG), -1);
    cr_assert_eq(errno, ECHILD);
}

Test(child, run_kills_what_is_late)
{
    struct error err;
    const char *argv[] = {"sh", "-c", "sleep 60", NULL};
    int64_t begin = clock_monotonic_ms();
    cr_assert_not(child_run(argv, 200, 1000, NULL, &err));
    cr_assert_eq(err.code, ERROR_TIMEOUT);
    cr_assert_lt(clock_monotonic_ms() - begin, 5000);
}

Test(child, run_does_not_wait_for_a_grandchild_that_keeps_the_pipe)
{
    struct error err;
    auto_free char *text = NULL;
    const char *argv[] = {"sh", "-c", "sleep 20 & echo $!", NULL};
    int64_t begin = clock_monotonic_ms();
    cr_assert(child_run(argv, 10000, 1000, &text, &err), "%s", err.text);
    cr_assert_lt(clock_monotonic_ms() - begin, 5000);
    kill((pid_t)strtol(text, NULL, 10), SIGKILL);
}

Test(child, gets_default_signals_and_no_stray_descriptors)
{
    struct error err;
    auto_free char *text = NULL;
    signal(SIGPIPE, SIG_IGN);
    auto_close int stray = open("/dev/null", O_RDONLY); /* NOLINT: not close-on-exec by intent */
    cr_assert_geq(stray, 3);
    const char *argv[] = {"sh", "-c", "grep SigIgn /proc/self/status; ls /proc/self/fd | wc -l",
                          NULL};
    cr_assert(child_run(argv, 5000, 1000, &text, &err), "%s", err.text);
    cr_assert_str_eq(text, "SigIgn:\t0000000000000000\n4\n"); /* ls itself has one open */
}

Test(child, keeps_one_descriptor_under_its_number)
{
    struct error err;
    auto_free char *log = in_folder("log");
    auto_free char *ready = in_folder("ready");
    auto_free char *kept_path = in_folder("kept");
    auto_close int kept = open(kept_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    auto_free char *script = memory_format("echo hello >&%d && touch %s; sleep 60", kept, ready);
    const char *argv[] = {"sh", "-c", script, NULL};
    struct child *child;
    cr_assert(child_start(argv, log, kept, &child, &err), "%s", err.text);
    cr_assert(child_wait_for_path(child, ready, 5000, &err), "%s", err.text);
    child_stop(child, 1000);
    auto_free char *text = NULL;
    cr_assert(file_read(kept_path, 100, &text, NULL, &err));
    cr_assert_str_eq(text, "hello\n");
}

Test(child, that_is_killed_while_it_starts_is_worth_another_attempt)
{
    struct error err;
    auto_free char *log = in_folder("log");
    const char *argv[] = {"sh", "-c", "kill -9 $$", NULL};
    struct child *child;
    cr_assert(child_start(argv, log, -1, &child, &err), "%s", err.text);
    cr_assert_not(child_wait_for_path(child, "/nonexistent/socket", 5000, &err));
    cr_assert_eq(err.code, ERROR_UNREACHABLE, "%s", err.text);
    child_stop(child, 100);
}

Test(child, that_ends_early_is_reported_with_its_last_line_only)
{
    struct error err;
    auto_free char *log = in_folder("log");
    cr_assert(file_write(log, 0600, "of an earlier run\n", 18, &err));
    const char *argv[] = {"sh", "-c", "echo one; echo two >&2; exit 1", NULL};
    struct child *child;
    cr_assert(child_start(argv, log, -1, &child, &err), "%s", err.text);
    cr_assert_not(child_wait_for_path(child, "/nonexistent/socket", 5000, &err));
    cr_assert_str_eq(err.text, "sh ended: two");
    child_stop(child, 100);
    const char *silent[] = {"true", NULL};
    cr_assert(child_start(silent, log, -1, &child, &err), "%s", err.text);
    cr_assert_not(child_wait_for_path(child, "/nonexistent/socket", 5000, &err));
    cr_assert_str_eq(err.text, "true ended: no output");
    for (int i = 0; i < 100 && child_is_alive(child); i++)
        clock_sleep_ms(10);
    cr_assert_not(child_is_alive(child));
    child_stop(child, 100);
}

Test(child, wait_for_path_gives_up_in_time)
{
    struct error err;
    auto_free char *log = in_folder("log");
    const char *argv[] = {"sleep", "60", NULL};
    struct child *child;
    cr_assert(child_start(argv, log, -1, &child, &err), "%s", err.text);
    cr_assert_not(child_wait_for_path(child, "/nonexistent/socket", 100, &err));
    cr_assert_eq(err.code, ERROR_TIMEOUT);
    cr_assert(child_is_alive(child));
    child_stop(child, 1000);
}

Test(child, stale_socket_file_is_not_taken_for_a_listener)
{
    struct error err;
    auto_free char *log = in_folder("log");
    auto_free char *path = in_folder("s");
    auto_free char *script = memory_format(
        "import socket,time\ns=socket.socket(socket.AF_UNIX)\ns.bind('%s')\ntime.sleep(60)", path);
    const char *argv[] = {"python3", "-c", script, NULL};
    struct child *child;
    cr_assert(child_start(argv, log, -1, &child, &err), "%s", err.text);
    struct stat info;
    for (int i = 0; i < 2000 && stat(path, &info) < 0; i++)
        clock_sleep_ms(10);
    cr_assert_eq(stat(path, &info), 0, "the child never bound its socket");
    cr_assert_not(child_wait_for_path(child, path, 200, &err));
    cr_assert_eq(err.code, ERROR_TIMEOUT);
    child_stop(child, 1000);
}

Test(child, listening_socket_is_ready)
{
    struct error err;
    auto_free char *log = in_folder("log");
    auto_free char *path = in_folder("s");
    auto_free char *script = memory_format("import socket,time\ns=socket.socket(socket.AF_UNIX)\n"
                                           "s.bind('%s')\ns.listen()\ntime.sleep(60)",
                                           path);
    const char *argv[] = {"python3", "-c", script, NULL};
    struct child *child;
    cr_assert(child_start(argv, log, -1, &child, &err), "%s", err.text);
    cr_assert(child_wait_for_path(child, path, 30000, &err), "%s", err.text);
    child_stop(child, 1000);
}

Test(child, stop_kills_one_that_ignores_sigterm_and_its_group)
{
    struct error err;
    auto_free char *log = in_folder("log");
    auto_free char *ready = in_folder("ready");
    auto_free char *script =
        memory_format("trap '' TERM; sleep 60 & echo $! > %s; while :; do sleep 1; done", ready);
    const char *argv[] = {"sh", "-c", script, NULL};
    struct child *child;
    cr_assert(child_start(argv, log, -1, &child, &err), "%s", err.text);
    pid_t grandchild = read_pid(ready);
    pid_t pid = child_pid(child);
    child_stop(child, 100);
    cr_assert(is_gone(pid));
    cr_assert(becomes_gone(grandchild));
}

/* The agent of the next two tests: a process of its own that is killed. */
static void run_agent(const char *ready, const char *log, bool is_detached)
{
    struct error err;
    auto_free char *script = memory_format("echo $$ > %s; exec sleep 60", ready);
    const char *argv[] = {"sh", "-c", script, NULL};
    struct child *child;
    pid_t pid;
    if (is_detached ? child_start_detached(argv, log, ready, 5000, &pid, &err)
                    : child_start(argv, log, -1, &child, &err))
        pause();
    _exit(1);
}

static pid_t child_of_killed_agent(bool is_detached)
{
    auto_free char *log = in_folder("log");
    auto_free char *ready = in_folder("ready");
    pid_t agent = fork();
    if (agent == 0)
        run_agent(ready, log, is_detached);
    pid_t pid = read_pid(ready);
    cr_assert_gt(pid, 0);
    clock_sleep_ms(100);
    kill(agent, SIGKILL);
    waitpid(agent, NULL, 0);
    return pid;
}

Test(child, dies_with_the_agent)
{
    cr_assert(becomes_gone(child_of_killed_agent(false)));
}

Test(child, detached_outlives_the_agent)
{
    pid_t pid = child_of_killed_agent(true);
    clock_sleep_ms(300);
    bool is_alive = !is_gone(pid);
    kill(pid, SIGKILL);
    cr_assert(is_alive);
}

Test(child, detached_that_ends_early_is_reported)
{
    struct error err;
    auto_free char *log = in_folder("log");
    const char *argv[] = {"sh", "-c", "echo cannot open disk; exit 1", NULL};
    pid_t pid = 0;
    cr_assert_not(child_start_detached(argv, log, "/nonexistent/socket", 5000, &pid, &err));
    cr_assert_str_eq(err.text, "sh ended: cannot open disk");
    cr_assert_eq(pid, 0);
    const char *missing[] = {"no-such-program-here", NULL};
    cr_assert_not(child_start_detached(missing, log, "/nonexistent/socket", 5000, &pid, &err));
    cr_assert_eq(err.code, ERROR_UNSUPPORTED);
}
