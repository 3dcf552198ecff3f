# What some requests alone ask for: programs that are called for them, firmware of another kind.
set -a
# Each program that images/programs.toml lists is in its image, and the sources name no further one.
programs_of_some_requests_are_there() {
    kubectl exec -i -n "$namespace" "$(running_pod nova-compute)" -c nova-compute -- \
        /opt/openstack/bin/python3 -c "$(cat tests/cloud/programs.py)" openstack nova os_brick os_vif vif_plug_ovs <images/programs.toml
    # libvirt's image has no Python.
    python3 -c 'import sys, tomllib
for entry in tomllib.load(sys.stdin.buffer)["here"]:
    if entry["image"] == "libvirt": print(entry["program"])' <images/programs.toml >"$out/programs"
    [[ -s $out/programs ]]
    kubectl exec -i -n "$namespace" "$(running_pod libvirt)" -c libvirt -- \
        sh -c 'while read -r program; do command -v "$program" >/dev/null || [ -e "$program" ] || { echo "$program is not there"; exit 1; }; done' <"$out/programs"
}
# An image that wants UEFI starts it, from an empty disk; beside it a config drive, an ephemeral disk and swap, each made by a program
# of its own.
uefi_server_starts() {
    local id name
    remove_uefi() {
        client demo server delete --wait uefi-vm || true
        client demo image delete uefi || true
        client admin flavor delete uefi || true
    }
    trap remove_uefi EXIT
    head -c 1M /dev/zero | OS_CLOUD=demo oaas openstack image create --disk-format raw --container-format bare \
        --property hw_firmware_type=uefi uefi -f value -c id
    client admin flavor create --vcpus 1 --ram 256 --disk 1 --ephemeral 1 --swap 16 uefi -f value -c id
    created demo uefi-vm --image uefi --flavor uefi --network demo-net --config-drive True
    id=$(field demo server uefi-vm id)
    name=$(field admin server "$id" OS-EXT-SRV-ATTR:instance_name)
    in_pod "$(running_pod libvirt)" libvirt virsh dumpxml "$name" >"$out/uefi.xml"
    grep -q 'OVMF_CODE_4M' "$out/uefi.xml" || { grep -A 9 '<os' "$out/uefi.xml"; return 1; }
    # A config drive, the disk, the ephemeral one, swap.
    [[ $(grep -c '<disk type=' "$out/uefi.xml") == 4 ]] || { grep -A 4 '<disk type=' "$out/uefi.xml"; return 1; }
    # The firmware says so on the console when it finds nothing to boot; under emulation after some ten seconds.
    firmware_speaks() { client demo console log show uefi-vm | grep -a BdsDxe; }
    until_true 150 firmware_speaks
}
set +a
