# Runs of one project, each in a bottle of its own, on clients that have /dev/kvm.
#
#   nomad job run bottle.nomad.hcl
#   nomad job dispatch -meta command='make test' bottle
#
# raw_exec, because exec has no /dev/kvm. Nomad sends kill_signal to bottle and waits for kill_timeout.
job "bottle" {
  type = "batch"

  parameterized {
    meta_required = ["command"]
    meta_optional = ["project"]
  }

  meta {
    project = "/srv/bottle/eval"
  }

  constraint {
    attribute = "${attr.kernel.name}"
    value     = "linux"
  }

  group "run" {
    restart {
      attempts = 0
      mode     = "fail"
    }

    task "bottle" {
      driver = "raw_exec"

      kill_signal  = "SIGTERM"
      kill_timeout = "30s"

      config {
        command = "/usr/local/bin/bottle"
        args = [
          "--quiet",
          "--config", "${NOMAD_META_project}/bottle.toml",
          "--state-dir", "/var/lib/bottle-jobs",
          "run",
          "--id", "${NOMAD_ALLOC_ID}",
          "--out", "/srv/results/${NOMAD_ALLOC_ID}",
          "--", "sh", "-c", "${NOMAD_META_command}",
        ]
      }

      resources {
        cpu    = 1000
        memory = 1200
      }
    }
  }
}
