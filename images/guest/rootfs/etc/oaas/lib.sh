# What the scripts of this directory share. Under emulation each new process costs some 10 ms, so shell built-ins do what
# they can and nothing waits by asking again and again.
export PATH=/sbin:/usr/sbin:/bin:/usr/bin

# Print one line on both consoles: the serial one, which Nova logs, and the screen.
say() {
	for tty in /dev/ttyS0 /dev/tty1; do echo "$*" >$tty; done 2>/dev/null
}

# Set `up` to the seconds since the kernel started.
uptime() {
	read -r up _ </proc/uptime
}
