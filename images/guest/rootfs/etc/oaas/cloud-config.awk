# Turn a small part of cloud-config into a script: hostname, ssh_authorized_keys and runcmd with plain strings.
# Anything else is named on standard error when the script runs.
function quoted(text) { gsub(/'/, "'\\''", text); return "'" text "'" }
function plain(text) {
	sub(/^[ \t]+/, "", text); sub(/[ \t]+$/, "", text)
	if (text ~ /^".*"$/ || text ~ /^'.*'$/) text = substr(text, 2, length(text) - 2)
	return text
}
BEGIN { print "#!/bin/sh" }
/^[ \t]*(#|$)/ { next }
/^[a-z_]+:/ {
	section = $0; sub(/:.*/, "", section)
	value = $0; sub(/^[a-z_]+:/, "", value); value = plain(value)
	if (section == "hostname") print "hostname " quoted(value)
	else if (value != "" || (section != "ssh_authorized_keys" && section != "runcmd"))
		print "echo cloud-config: not supported: " quoted($0) " >&2"
	next
}
/^[ \t]*- / {
	item = $0; sub(/^[ \t]*-/, "", item); item = plain(item)
	if (section == "ssh_authorized_keys")
		print "for home in /root /home/oaas; do echo " quoted(item) " >>$home/.ssh/authorized_keys; done"
	else if (section == "runcmd" && item !~ /^\[/) print "sh -c " quoted(item)
	else if (section == "runcmd") print "echo cloud-config: runcmd takes plain strings, not lists: " quoted(item) " >&2"
	next
}
