package main

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	v1 "k8s.io/api/core/v1"
	storage "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v13/controller"
)

func claim(modes ...v1.PersistentVolumeAccessMode) *v1.PersistentVolumeClaim {
	return &v1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "demo", Name: "data-mariadb-0", Annotations: map[string]string{selectedNode: "node1"},
		},
		Spec: v1.PersistentVolumeClaimSpec{
			AccessModes: modes,
			Resources: v1.VolumeResourceRequirements{
				Requests: v1.ResourceList{v1.ResourceStorage: resource.MustParse("1Gi")},
			},
		},
	}
}

func options(claim *v1.PersistentVolumeClaim) controller.ProvisionOptions {
	return controller.ProvisionOptions{StorageClass: &storage.StorageClass{}, PVName: "pvc-1", PVC: claim, SelectedNodeName: "node1"}
}

func TestAVolumeIsADirectoryOfItsNodeAndGoesWithIt(t *testing.T) {
	volumes := localVolumes{root: t.TempDir(), node: "node1"}
	for range 2 { // twice: a run that was killed is run again
		volume, _, err := volumes.Provision(context.Background(), options(claim(v1.ReadWriteOnce)))
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(volumes.root, "demo-data-mariadb-0-pvc-1")
		if volume.Spec.Local.Path != path || nodeOf(volume) != "node1" {
			t.Fatalf("unexpected volume: %v", volume.Spec)
		}
		if found, err := os.Stat(path); err != nil || found.Mode().Perm() != 0o777 {
			t.Fatalf("a pod could not write: %v %v", found, err)
		}
	}
	volume, _, _ := volumes.Provision(context.Background(), options(claim(v1.ReadWriteOnce)))
	for range 2 {
		if err := volumes.Delete(context.Background(), volume); err != nil {
			t.Fatal(err)
		}
	}
	if entries, _ := os.ReadDir(volumes.root); len(entries) != 0 {
		t.Fatalf("left over: %v", entries)
	}
}

func TestOnlyVolumesOfThisNodeAreMinded(t *testing.T) {
	first, second := localVolumes{root: t.TempDir(), node: "node1"}, localVolumes{root: t.TempDir(), node: "node2"}
	wanted := claim(v1.ReadWriteOnce)
	if !first.ShouldProvision(context.Background(), wanted) || second.ShouldProvision(context.Background(), wanted) {
		t.Fatal("a claim is for the node that the scheduler selected")
	}
	volume, _, _ := first.Provision(context.Background(), options(wanted))
	if !first.ShouldDelete(context.Background(), volume) || second.ShouldDelete(context.Background(), volume) {
		t.Fatal("a volume is removed on the node where it lies")
	}
	if first.ShouldDelete(context.Background(), &v1.PersistentVolume{}) {
		t.Fatal("a volume of someone else is not ours to remove")
	}
}

func TestWhatADirectoryCannotBeIsRefused(t *testing.T) {
	volumes := localVolumes{root: t.TempDir(), node: "node1"}
	if _, _, err := volumes.Provision(context.Background(), options(claim(v1.ReadWriteMany))); err == nil {
		t.Fatal("nodes do not share a directory")
	}
	selecting := claim(v1.ReadWriteOnce)
	selecting.Spec.Selector = &metav1.LabelSelector{}
	if _, _, err := volumes.Provision(context.Background(), options(selecting)); err == nil {
		t.Fatal("a volume made now has no labels to select")
	}
}

func TestADirectoryElsewhereIsNeverRemoved(t *testing.T) {
	volumes := localVolumes{root: t.TempDir(), node: "node1"}
	for _, path := range []string{"/etc", volumes.root, volumes.root + "/a/../..", volumes.root + "/a/b"} {
		volume := &v1.PersistentVolume{Spec: v1.PersistentVolumeSpec{
			PersistentVolumeSource: v1.PersistentVolumeSource{Local: &v1.LocalVolumeSource{Path: path}},
		}}
		if err := volumes.Delete(context.Background(), volume); err == nil {
			t.Fatalf("%s was taken for a volume", path)
		}
	}
}
