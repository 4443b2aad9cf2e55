"""r-notebook: R computes, reads and draws. R's exit codes say little, so what it prints is looked at."""


def r(idle, code):
    done = idle.run("Rscript", "-e", code)
    assert "Error" not in done.stderr and "Warning" not in done.stderr, done.stderr
    return done.stdout.strip()


def test_r_computes(idle):
    assert r(idle, "cat(sum(1:10))") == "55"


def test_r_fits_a_line(idle):
    assert r(idle, "x <- 1:5; cat(round(coef(lm(I(2 * x + 1) ~ x)), 6))") == "1 2"


def test_r_reads_json(idle):
    assert r(idle, "cat(jsonlite::fromJSON('{\"a\": [1, 2, 3]}')$a)") == "1 2 3"


def test_r_draws_without_a_display(idle):
    size = r(idle, 'png("/tmp/p.png"); plot(1:3); invisible(dev.off()); cat(file.size("/tmp/p.png"))')
    assert int(size) > 1000


def test_own_packages_have_a_place(idle):
    assert r(idle, "cat(.libPaths()[1])") == "/home/jovyan/R"
    assert idle.sh("stat -c %u ~/R") == "1000"
