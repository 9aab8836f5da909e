"""Shell commands per record: where a placeholder may stand, and that a value is never read as code."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from dynamic_pipeline.errors import UsageError
from dynamic_pipeline.records import Record
from dynamic_pipeline.templates import (
    ANY_NAMES,
    BadRecord,
    CommandTemplate,
    LineTemplate,
    ShellTemplate,
    quoted,
)

BASH = shutil.which("bash")
SHELLS = ["/bin/sh", *([BASH] if BASH else [])]


def script(text: str, record: bytes = b"in/a b.txt", names: Sequence[str] = ()) -> tuple[str, list[bytes]]:
    """What the shell is given: its text, and the values."""
    sh, option, made, name, *values = ShellTemplate(text, names).fill(Record(record, "in", 1), 7, 3)
    assert (b"/bin/sh", b"-c", b"sh") == (sh, option, name)
    return os.fsdecode(made), values


def shown(text: str, record: bytes) -> str:
    return ShellTemplate(text).display(Record(record, "in", 1), 7, 3)


def refusal(text: str, names: Sequence[str] = ()) -> tuple[str, str]:
    with pytest.raises(UsageError) as refused:
        ShellTemplate(text, names)
    return str(refused.value), refused.value.hint


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("echo {}", 'echo "${1}"'),
        ('echo "<{}>"', 'echo "<${1}>"'),
        ("echo '<{}>'", "echo '<'\"${1}\"'>'"),
        ("echo \"$(basename '{}')\"", "echo \"$(basename ''\"${1}\"'')\""),
        ("x={}; echo $x", 'x="${1}"; echo $x'),
        ("for i in {}; do echo $i; done", 'for i in "${1}"; do echo $i; done'),
        ("sort <{} >{}.out 2>&1", 'sort <"${1}" >"${1}".out 2>&1'),
        ("case {} in {}) echo;; esac", 'case "${1}" in "${1}") echo;; esac'),
        ("echo # it's {}\necho {}", 'echo # it\'s {}\necho "${1}"'),
        ("cat <<E; echo {}\nit's\nE\n", 'cat <<E; echo "${1}"\nit\'s\nE\n'),
        ("cat <<-'E' {}\n\tE x\n\tE\necho \"{}\"", 'cat <<-\'E\' "${1}"\n\tE x\n\tE\necho "${1}"'),
        ("cat <<<{}", 'cat <<<"${1}"'),
        ("echo \\\n{}", 'echo \\\n"${1}"'),
        ("a=(b {})", 'a=(b "${1}")'),
        ("diff <(sort {}) -", 'diff <(sort "${1}") -'),
        ("(ls) >{} 2>&1", '(ls) >"${1}" 2>&1'),
        ("echo a#{} 2#{}", 'echo a#"${1}" 2#"${1}"'),
        ("(cd / && ls {})", '(cd / && ls "${1}")'),
        ("{ ls {}; } && ! ls {}", '{ ls "${1}"; } && ! ls "${1}"'),
        ("x=1 y=$(date) ls {}", 'x=1 y=$(date) ls "${1}"'),
        ("./{} a", './"${1}" a'),
        ("((i = 1)); for ((;;)); do ls {}; done", '((i = 1)); for ((;;)); do ls "${1}"; done'),
        (
            "f=$(case a in (a) ls;; b) ls {};; esac) ls {}",
            'f=$(case a in (a) ls;; b) ls "${1}";; esac) ls "${1}"',
        ),
    ],
)
def test_a_reference_is_written_for_the_quotes_around_it(text: str, made: str) -> None:
    """The text of the script is the same for each record, and the value is its argument."""
    assert (made, [b"in/a b.txt"]) == script(text)


def test_each_placeholder_has_its_value() -> None:
    """Every distinct one is an argument, once, however it is spelt."""
    assert (
        'echo "${1}" "${2}" "${3}" "${4}" "${5}" "${6}" "${7}" "${8}" "${1}" "${1}"',
        [b"in/a b.txt", b"in/a b", b"a b.txt", b"in", b"a b", b"7", b"3", b"'in/a b.txt'"],
    ) == script("echo {} {.} {/} {//} {/.} {#} {%} {:q} {1} {}")


def test_fields_by_name_and_column() -> None:
    """As in the words of a command, with the same complaints."""
    template = ShellTemplate("echo '{a b/}' {2} {1:q} {}", ["a b", "c"])
    record = Record(b"x/y,z", "in", 1, fields={"a b": "x/y", "c": "z"})

    assert [b"y", b"z", b"x/y", b"x/y,z"] == template.fill(record, 1, 1)[4:]
    assert refusal("echo {d}", ["a", "c"])[0] == "{d}: there is no such value (fields: a, c)"
    assert refusal("echo {5}", ["a", "c"])[0] == "{5}: there is no such value (columns: 1 to 2)"
    with pytest.raises(BadRecord, match="it has no field 'x'"):
        ShellTemplate("echo {x}", ANY_NAMES).fill(Record(b"{}", "in", 1, fields={}), 1, 1)


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("awk '{print $NF}' {}", "awk '{print $NF}' \"${1}\""),
        ("echo ${x} ${x:-y} ${#x} {}", 'echo ${x} ${x:-y} ${#x} "${1}"'),
        ("echo ${a:-${b}} {{x}} {}", 'echo ${a:-${b}} {x} "${1}"'),
        ("echo {{ ${a:-${b}} }} {}", 'echo { ${a:-${b}} } "${1}"'),
        ("echo {{{}}} }} {a,b}", 'echo {"${1}"} }} {a,b}'),
        ("echo \\{{}} '{{}}' \"{{}}\" {}", 'echo \\{} \'{}\' "{}" "${1}"'),
        ("echo ${x:-'}'} {}", "echo ${x:-'}'} \"${1}\""),
        ("echo \"${x:-it's}\" ${x#'}'} {}", 'echo "${x:-it\'s}" ${x#\'}\'} "${1}"'),
        ('echo $$ $? "$" {}', 'echo $$ $? "$" "${1}"'),
        ("awk '{print $1}' {} # ${#}", "_arg1=${1}; set --; awk '{print $1}' \"${_arg1}\" # ${#}"),
    ],
)
def test_other_braces_and_dollars_stay(text: str, made: str) -> None:
    """What belongs to the shell or to awk passes as it is; doubled braces are one."""
    assert made == script(text)[0]


def test_the_record_is_appended_to_lines() -> None:
    """After the last word, where that is possible; rows need a name."""
    assert script("grep -c x \n")[0] == 'grep -c x "${1}"'
    assert script("echo a\\ ")[0] == 'echo a\\  "${1}"'
    no_room = "the shell command has no placeholder, and the record cannot be appended to it"
    for text in ("ls;", "ls # all", "for i in a; do ls; done", "cat <<E\nx\nE", "if ls; then"):
        assert refusal(text)[0] == no_room
    assert refusal("ls", ["a"]) == (
        "the command names no field of the records",
        "write {NAME}, or {} for all of it",
    )
    assert refusal(" ")[0] == "the shell command is empty"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("echo `ls {}`", "{} at column 10 stands inside backticks, where no quoting is safe"),
        ("echo \"`ls '{/}'`\"", "{/} at column 12 stands inside backticks, where no quoting is safe"),
        ("cat <<E\nx {}\nE", "{} at line 2, column 3 stands in a here-document"),
        ("x=$(cat <<-E\n\t{}\n\tE\n)", "{} at line 2, column 2 stands in a here-document"),
        ("cat <<{}\nx", "{} at line 1, column 7 stands in a here-document"),
        ("echo ü$'a{}'", "{} at column 10 stands inside $'…', where its backslashes would count"),
        ("echo ${x:-{}}", "{} at column 11 stands inside ${…}"),
        ('echo "${x:-$(ls {})}"', "{} at column 17 stands inside ${…}"),
        ("echo $((1 + {}))", "{} at column 13 stands where arithmetic would evaluate it as code"),
        ("echo $(( (1) + $(ls {}) ))", "{} at column 21 stands where arithmetic would evaluate it as code"),
        ("(({} > 1)) && ls", "{} at column 3 stands where arithmetic would evaluate it as code"),
        ("ls $[{}]", "{} at column 6 stands where arithmetic would evaluate it as code"),
        ("a[{}]=1", "{} at column 3 stands where arithmetic would evaluate it as code"),
        ("ls >&{}", "{} at column 6 stands after >& or <&, where bash would expand it twice"),
        ("ls 2>&1{}", "{} at column 8 stands after >& or <&, where bash would expand it twice"),
        ("echo \\{}", "{} at column 7 stands directly after a backslash"),
        ('echo "\\{}"', "{} at column 8 stands directly after a backslash"),
        ("echo ${}", "{} at column 7 stands directly after a dollar sign"),
        ("{}", "{} at column 1 stands where the name of a command belongs"),
        ("'{}' a", "{} at column 2 stands where the name of a command belongs"),
        ("true && {} a", "{} at column 9 stands where the name of a command belongs"),
        ("x=1 >o {} a", "{} at column 8 stands where the name of a command belongs"),
        ("if ls {}; then {}; fi", "{} at column 16 stands where the name of a command belongs"),
        ("echo $({} a)", "{} at column 8 stands where the name of a command belongs"),
        ("case a in a) {};; esac", "{} at column 14 stands where the name of a command belongs"),
        ("f() { {}; }", "{} at column 7 stands where the name of a command belongs"),
        ("for i do {}; done", "{} at column 10 stands where the name of a command belongs"),
        ("\\\n{} a", "{} at line 2, column 1 stands where the name of a command belongs"),
        ("for i in a; do ls; done {}", "{} at column 25 stands after the end of a compound command"),
        ("(ls) {}", "{} at column 6 stands after the end of a compound command"),
    ],
)
def test_where_no_value_is_safe_is_refused(text: str, told: str) -> None:
    """With the placeholder, the place and a way out, before any job."""
    assert told == refusal(text)[0]
    assert refusal(text)[1]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("echo 'x {}", "the command ends within the ' at column 6"),
        ('echo "x {}', 'the command ends within the " at column 6'),
        ('echo {} "$(ls', "the command ends within the $( at column 10"),
        ("echo {} ${x", "the command ends within the ${ at column 9"),
        ("echo {} `x", "the command ends within the ` at column 9"),
        ("echo {} $'x\\'", "the command ends within the $' at column 9"),
        ("(ls {}", "the command ends within the ( at column 1"),
        ("ls {} \\", "the command ends with a backslash"),
        ("((ls {{}); ls) | cat {}", "the (( at column 1 begins arithmetic, but no )) ends it"),
    ],
)
def test_what_is_left_open_is_refused(text: str, told: str) -> None:
    """It would fail for each record, and where a placeholder stands could not be known."""
    assert told == refusal(text)[0]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("sh -c 'echo {}'", "sh"),
        ('ls {} | xargs -I% bash -ec "echo % {/}"', "bash"),
        ("su me -c {}", "su"),
        ("ssh host rm {}", "ssh"),
        ("eval {}", "eval"),
        ("x=$(bash -c \"rm $(dirname '{}')\")", "bash"),
        ("true; watch ls {}", "watch"),
        ("python3 -c 'print(\"{:q}\")'", "python3"),
        ("python3.12 -W error -Bc {}", "python3.12"),
        ("perl -lne 'print if /{}/' f", "perl"),
        ("perl -e'print {}'", "perl"),
        ("ruby -r json -e {}", "ruby"),
        ("node --eval {}", "node"),
        ("php -r {}", "php"),
        ("awk -F , -v a=b '/{}/' f", "awk"),
        ("find . -exec gawk '{{print {}}}' + ", "gawk"),
        ("sed -i s/a/{}/ f", "sed"),
        ("sudo sed -n -e p -es/a/{}/ f", "sed"),
        ("if [[ {} -eq 1 ]]; then ls; fi", "[["),
        ("let x={}", "let"),
        ("read {} <f", "read"),
        ("printf -v {} x", "printf"),
        ("x='{}'; echo $((x + 1))", "the arithmetic with x"),
        ("for i in 1 {}; do ((i > 1)) && echo $i; done", "the arithmetic with i"),
    ],
)
def test_a_value_that_is_read_as_code_again_is_told(text: str, name: str) -> None:
    """By the interpreter's name, in a shell command and in the words of one alike."""
    assert f" is read as code by {name}; " in ShellTemplate(text).risk


@pytest.mark.parametrize(
    "text",
    [
        "echo {} | sort",
        "sh -c 'echo {:q} {#}'",
        "sh -c 'echo \"$1\"' sh {}",
        "python3 -c 'import sys; print(sys.argv)' {}",
        "python3 tool.py -c {}",
        "python3 -m tool -c {}",
        "perl tool.pl -e {}",
        "awk -v x={} '{print x}' {}",
        "awk -f prog.awk {}",
        "sed -e p -- {}",
        "sed -f prog.sed {}",
        "man sed {}",
        "[[ {} = a* ]]",
        "export x={}; i={#}; echo $((i + j))",
    ],
)
def test_what_is_safe_is_not_complained_about(text: str) -> None:
    """A word of its own, a quoted value, a number of ours."""
    assert ShellTemplate(text).risk == ""


def test_the_words_of_a_command_have_the_same_risks() -> None:
    """Without a shell, too; what quotes a value for a shell does not help against a language."""
    assert CommandTemplate(["bash", "-c", "ls {}"]).risk == "{} is read as code by bash; {:q} quotes it"
    assert (
        CommandTemplate(["env", "python3", "-c", "print('{/:q}')"]).risk
        == "{/:q} is read as code by python3; pass it as an argument or in a variable instead"
    )


@pytest.mark.parametrize(
    ("text", "value", "line"),
    [
        ("echo {} '{}' \"{}\"", b"a.b", "echo a.b 'a.b' \"a.b\""),
        ("echo {} '{}' \"{}\"", b"a b", "echo 'a b' 'a b' \"a b\""),
        ("echo {} '{}'", b"it's", "echo 'it'\\''s' 'it'\\''s'"),
        ('echo "{}"', b'$x`"\\', 'echo "\\$x\\`\\"\\\\"'),
        ('echo "{}"', b"a!b", 'echo ""\'a!b\'""'),
        ("echo {} '{}' \"{}\"", b"a\nb", "echo $'a\\012b' ''$'a\\012b''' \"\"$'a\\012b'\"\""),
        ("echo {}", b"", "echo ''"),
        ('echo $x{} "$x{}" {}>o ~{}', b"1", "echo $x'1' \"$x\"1\"\" '1'>o ~'1'"),
        ("case x in {}) ;; esac", b"esac", "case x in 'esac') ;; esac"),
        ("fo{} a", b"r", "fo'r' a"),
        ("./{} a", b"x=1", "./'x=1' a"),
        ("echo {{}} {}", b"\xff", "echo {} '\udcff'"),
        ("echo\n", b"a b", "echo 'a b'"),
        ("echo {}\necho", b"a b", "/bin/sh -c $'echo \"${1}\"\\012echo' sh 'a b'"),
    ],
)
def test_the_display_is_the_command_as_one_would_write_it(text: str, value: bytes, line: str) -> None:
    """On one line; a value stands as it is where nothing in it or beside it would change it."""
    assert line == shown(text, value)


def test_arguments_that_the_command_changes_itself_do_not_matter() -> None:
    """Functions have arguments of their own, `set` and `shift` change them, and those of ours are not seen."""
    for text in (
        "f() { printf %s {}; }; f x",
        "set -- x; printf %s {}",
        "set a b; shift; printf %s {}",
        'printf %s "$*" {}',
    ):
        argv = ShellTemplate(text).fill(Record(b"a  b", "in", 1), 1, 1)
        assert subprocess.run(argv, capture_output=True, check=True).stdout == b"a  b"


def test_a_record_can_be_a_command() -> None:
    """As it stands; on one line where it holds none of the control characters."""
    template = LineTemplate()

    assert [b"/bin/sh", b"-c", b"echo 'a {}' | wc"] == template.fill(
        Record(b"echo 'a {}' | wc", "in", 1), 1, 1
    )
    assert "echo 'a {}' | wc" == template.display(Record(b"echo 'a {}' | wc", "in", 1), 1, 1)
    assert "/bin/sh -c $'a\\012b'" == template.display(Record(b"a\nb", "in", 1), 1, 1)
    assert template.risk == ""


# No value may do anything but stand where it was put. SEE writes an argument down, with a NUL after it; what
# is to be seen has the value for `v`, and for `s` the value as `$( )` gives it, without newlines at its end.
SEE = """>>"$OUT" printf '%s\\0'"""
V, S = object(), object()
CONTEXTS: list[tuple[str, list[tuple[object, ...]]]] = [
    ("SEE {}", [(V,)]),
    ('SEE "{}"', [(V,)]),
    ("SEE '{}'", [(V,)]),
    ("SEE ''{}\"\"", [(V,)]),
    ('SEE "$(printf %s. {})"', [(V, b".")]),
    ('SEE "$(printf %s. "$(printf %s \'{}\')")"', [(S, b".")]),
    ('SEE "$(printf \'%s.\' "$(printf %s. "{}")")"', [(V, b"..")]),
    ('x={}; SEE "$x"', [(V,)]),
    ('x=\'{}\' y="a{}"; SEE "$x"; SEE "$y"', [(V,), (b"a", V)]),
    ('for i in {} "{}" \'{}\'; do SEE "$i"; done', [(V,)] * 3),
    ("SEE a{}b'c{}d'\"e{}f\"", [(b"a", V, b"bc", V, b"de", V, b"f")]),
    ("if [ x{} = 'x{}' ]; then SEE {}; else SEE no; fi", [(V,)]),
    ('case {} in "{}") SEE {} ;; *) SEE no ;; esac', [(V,)]),
    ("case '{}' in ({}) SEE \"{}\" ;; esac", [(V,)]),
    ('printf %s {} | {{ x=$(cat; printf .); SEE "$x"; }}', [(V, b".")]),
    ("( SEE {} ) && {{ SEE '{}'; }}", [(V,)] * 2),
    ("x=$(case {} in ?) printf %s. {} ;; *) printf %s. '{}' ;; esac); SEE \"$x\"", [(V, b".")]),
    ("while :; do SEE {}; break; done 2>/dev/null", [(V,)]),
    ("true \\\n  && SEE \\\n  {}", [(V,)]),
    ("# it's a \"comment\" `with\nSEE {} # and 'another", [(V,)]),
    ('SEE {} # it\'s a "comment" `with {}', [(V,)]),
    ("cat <<'E' >/dev/null; SEE \"{}\"\n$(touch canary) ' \"\nE\nSEE '{}'", [(V,)] * 2),
    ('y=${x:-"a}\'"}; SEE {}; SEE "$((1 + ${#y})){}"', [(V,), (b"4", V)]),
    ("set -- other words; SEE {}", [(V,)]),
    ("f() { SEE '{}' \"$1\"; }; f one", [(V,), (b"one",)]),
    ('SEE "{}" 3>/dev/null 2>&1', [(V,)]),
    ('sh -c \'printf "%s\\0" "$1" >>"$OUT"\' sh {}', [(V,)]),
    ('sh -c \'printf "%s\\0" {:q} >>"$OUT"\'', [(V,)]),
    ('sh -c "printf %s. {:q} >>\\"\\$OUT\\""; SEE', [(V, b".")]),
    ('true && eval "SEE {:q}"', [(V,)]),
]


def hostile_values() -> Iterator[bytes]:
    yield from (
        b"",
        b" ",
        b"-",
        b"-n",
        b"--",
        b"'",
        b'"',
        b"''",
        b"\\",
        b"\\\\",
        b"\\'",
        b"*",
        b"?",
        b"[a-z]*",
        b"~",
    )
    yield from (
        b"\n",
        b"a\nb\n",
        b"\t",
        b"\r",
        b"\x01\x7f\x1b[0m",
        b"\xff\xfe",
        b"\xe2\x80\xa8",
        "ü".encode(),
    )
    yield from (
        b"$(touch canary)",
        b"`touch canary`",
        b"; touch canary",
        b"\ntouch canary\n",
        b"& touch canary &",
    )
    yield from (b"'; touch canary; '", b'"; touch canary; "', b"'$(touch canary)'", b'"$(touch canary)"')
    yield from (
        b"${IFS}",
        b"$HOME",
        b"!",
        b"!!",
        b"a!b",
        b"#",
        b"# x",
        b"{}",
        b"${1}",
        b"%s%n",
        b"a;b|c&d<e>f(g)h",
    )
    yield from (
        b") touch canary (",
        b"}; touch canary; {",
        b"a[$(touch canary)]",
        b"EOF\n",
        b"esac",
        b"done",
        b"1",
    )
    yield from (
        b"x=1",
        b"=",
        b"a b  c",
        b"/etc/*",
        b"in",
        b"\\\n",
        b"$'\\x41'",
        b"'\\''",
        b"x; echo INJECTED",
    )
    rng = random.Random(7)
    for _ in range(100):
        yield bytes(
            rng.choice((rng.randrange(1, 256), *b"'\"`$\\\n ;(){}!")) for _ in range(rng.randrange(1, 12))
        )


VALUES = list(hostile_values())


def expected(seen: list[tuple[object, ...]], values: Sequence[bytes]) -> list[bytes]:
    return [
        b"".join(
            part if isinstance(part, bytes) else value if part is V else value.rstrip(b"\n") for part in one
        )
        for value in values
        for one in seen
    ]


def run_in(shell: str, lines: Sequence[bytes], folder: Path) -> list[bytes]:
    """What was seen when *shell* ran the lines."""
    out, text = folder / "out", folder / "lines"
    out.write_bytes(b"")
    text.write_bytes(b"\n".join(lines) + b"\n")
    env = {**os.environ, "OUT": str(out)}
    done = subprocess.run(
        [shell, str(text)], check=False, cwd=folder, env=env, stdin=subprocess.DEVNULL, capture_output=True
    )
    assert (b"", b"") == (done.stdout[:500], done.stderr[:500])
    assert {"out", "lines"} == {path.name for path in folder.iterdir()}, "a value was run as code"
    return out.read_bytes().split(b"\0")[:-1]


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(("text", "seen"), CONTEXTS, ids=[text for text, _ in CONTEXTS])
def test_a_value_stands_where_it_was_put_and_does_nothing_else(
    shell: str, text: str, seen: list[tuple[object, ...]], tmp_path: Path
) -> None:
    """In whatever quotes, in whatever place, whatever it holds: the command sees exactly the value.

    The script is the same for all values, so that one shell runs it for each, with the arguments of that job.
    """
    template = ShellTemplate(text.replace("SEE", SEE))
    jobs = [template.fill(Record(value, "in", 1), 7, 3) for value in VALUES]
    assert len({job[2] for job in jobs}) == 1
    lines = [b"set -- " + b" ".join(map(quoted, job[4:])) + b'; eval "$SCRIPT"' for job in jobs]

    assert expected(seen, VALUES) == run_in(shell, [b"SCRIPT=" + quoted(jobs[0][2]), *lines], tmp_path)


@pytest.mark.skipif(BASH is None, reason="the line is made for bash, which is not installed")
@pytest.mark.parametrize(("text", "seen"), CONTEXTS, ids=[text for text, _ in CONTEXTS])
def test_the_display_does_what_the_job_does(
    text: str, seen: list[tuple[object, ...]], tmp_path: Path
) -> None:
    """Copied into bash, one line a job."""
    template = ShellTemplate(text.replace("SEE", SEE))
    lines = [os.fsencode(template.display(Record(value, "in", 1), 7, 3)) for value in VALUES]

    assert BASH is not None
    assert not [line for line in lines if b"\n" in line]
    assert expected(seen, VALUES) == run_in(BASH, lines, tmp_path)


@pytest.mark.parametrize("value", [b"x; echo INJECTED", b"$(echo INJECTED)", b"a b$HOME", b"a\xff\nb"])
@pytest.mark.parametrize("text", ["printf %s {}", "printf %s '{}'", 'printf %s "{}"'])
def test_a_job_as_it_is_started(text: str, value: bytes) -> None:
    """The three ways in which people write a placeholder, without the bench of the tests above."""
    argv = ShellTemplate(text).fill(Record(value, "in", 1), 1, 1)

    assert value == subprocess.run(argv, capture_output=True, check=True).stdout
