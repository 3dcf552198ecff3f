/*
 * The program that holds a pod's namespaces open. It sleeps, reaps what is re-parented to it where a pod shares
 * its PID namespace, and ends on SIGTERM or SIGINT. Static, so that its image is this one file.
 */
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void) {
	sigset_t watched;
	sigemptyset(&watched);
	sigaddset(&watched, SIGINT);
	sigaddset(&watched, SIGTERM);
	sigaddset(&watched, SIGCHLD);
	if (sigprocmask(SIG_BLOCK, &watched, NULL) < 0)
		return EXIT_FAILURE;

	for (;;) {
		int received;
		if (sigwait(&watched, &received) != 0)
			return EXIT_FAILURE;
		if (received != SIGCHLD)
			return EXIT_SUCCESS;
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
	}
}
