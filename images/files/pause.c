/* Holds a pod's namespaces until it is told to end, and reaps what is orphaned in a shared PID namespace. */
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void end(int signal) { (void)signal; _exit(0); }
static void reap(int signal) { (void)signal; while (waitpid(-1, NULL, WNOHANG) > 0) { } }

int main(void) {
    struct sigaction on_child = {.sa_handler = reap, .sa_flags = SA_NOCLDSTOP | SA_RESTART};
    signal(SIGINT, end);
    signal(SIGTERM, end);
    sigaction(SIGCHLD, &on_child, NULL);
    for (;;) pause();
}
