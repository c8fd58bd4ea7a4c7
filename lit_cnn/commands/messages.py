"""What the commands say when something goes wrong; nothing heavy is imported for it."""

from __future__ import annotations

import contextlib
import difflib
import logging
import os
import re
import sys
import warnings
from collections.abc import Iterator
from typing import Any, NoReturn, get_args

from lit_cnn.commands.options import COMMAND_OPTIONS, options_by_class
from lit_cnn.commands.policy import ALLOW
from lit_cnn.data.names import DATASETS
from lit_cnn.errors import ParityError, TrainingError
from lit_cnn.network.catalogue import read_catalogue

# Set to anything, errors come with their traceback.
DEBUG = "LIT_CNN_DEBUG"
# Exit statuses: what the user gave is wrong, or the machine cannot do it.
REFUSED = 2
FAILED = 1
# As shells have them: after Ctrl-C, and when nobody reads what is printed.
INTERRUPTED = 130
BROKEN_PIPE = 141
# What torch says when BatchNorm gets one value of each channel.
ONE_VALUE = "Expected more than 1 value per channel when training"
# How gloo and NCCL report that another process has ended.
LOST_PEER = re.compile(
    r"Connection (closed|reset) by peer|Broken pipe|gloo.*(closed|reset|refused)|NCCL.*(abort|remote)", re.I | re.S
)
# The class of which each group of settings is.
_BASES = {"model": "LitClassifier", "data": "ImageDataModule", "trainer": "Trainer"}
# How torch reports that a GPU's memory, or the machine's, is too small.
OUT_OF_MEMORY = re.compile(r"out of memory|can't allocate memory", re.I)


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
    """Ends the program with one line for what a user can mend; anything else keeps its traceback.

    The exit status is 2 for what the user gave, 1 for what the machine could not do, 130 after Ctrl-C.
    """
    try:
        yield
    except SystemExit as stopped:
        # Lightning answers Ctrl-C, where it gets it, with the status of a failure.
        if isinstance(stopped.__context__, KeyboardInterrupt):
            sys.exit(INTERRUPTED)
        raise
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        sys.exit(BROKEN_PIPE)
    except Exception as error:
        message = _message_for_users(error)
        if message is None or os.environ.get(DEBUG):
            raise
        refuse(message, REFUSED if _is_about_settings(error) else FAILED)


def refuse(message: str, status: int = REFUSED) -> NoReturn:
    """Ends the program with an error in one line."""
    print(f"lit-cnn: error: {message}", file=sys.stderr, flush=True)
    sys.exit(status)


def _is_about_settings(error: Exception) -> bool:
    """Whether what the user gave is wrong. Lightning's own class for that is not imported for this."""
    return isinstance(error, ValueError) or type(error).__name__ == "MisconfigurationException"


def _message_for_users(error: Exception) -> str | None:
    """What to print of an error; None if it is a fault of the program."""
    if isinstance(error, OSError) and error.strerror:
        return in_one_line(error.strerror if error.filename is None else f"{error.filename}: {error.strerror}")
    if isinstance(error, OSError | TrainingError | ParityError) or _is_about_settings(error):
        return explain(str(error)) or type(error).__name__
    if isinstance(error, RuntimeError):
        if LOST_PEER.search(str(error)):
            return "another process of this training has ended; its own message is above"
        if OUT_OF_MEMORY.search(str(error)):
            return f"{out_of_memory(error)}: make the batches (--data.batch_size, or --batch_size) or the images smaller"
    return None


def out_of_memory(error: RuntimeError) -> str:
    """torch's message about too little memory, without its advice to programmers."""
    return f"there is not enough memory ({str(error).partition('. ')[0].splitlines()[0]})"


def explain(message: str, class_name: str | None = None) -> str:
    """A message in one line; jsonargparse's about classes and options say what would do.

    Args:
        message: Of the error.
        class_name: The class whose arguments it is about, if it is known.
    """
    if nested := re.search(r"Parser key \"([\w.]+)\".*Given value: NestedArg\(key='(?!class_path)([\w.]+)'", message, re.S):
        return f"{nested[1]}.{nested[2]} comes without a class: give --{nested[1]} NAME before it"
    denied = re.search(r"Importing '([\w.]+)' is not allowed", message)
    if denied and denied[1] == "pytorch_lightning.Callback":  # of which the parser takes the option to be
        return "an option below --trainer.callbacks comes without a class: give --trainer.callbacks NAME before it"
    if denied:
        package = denied[1].partition(".")[0]
        return (
            f"{denied[1]} is not imported: a configuration may name what is in lit_cnn, and callbacks, "
            f"loggers, plugins, profilers, strategies and accelerators of pytorch_lightning; "
            f"if you trust it, set the environment variable {ALLOW}={package}"
        )
    if missing := re.search(r"Requirement '([^']+)' not met", message):
        package = re.split(r"[<>=!~\[ ]", missing[1])[0]
        cls = re.search(r"class_path '(?:\w+\.)*(\w+)'", message)
        return f"{cls[1] if cls else 'this'} needs the package {package}, which is not installed: pip install {package}"
    if ONE_VALUE in message:
        return (
            "BatchNorm needs more than one image of a step in each process, and this network ends in layers of one pixel: "
            "make --data.batch_size larger"
        )
    return _explain_name(message) or _explain_option(message, class_name) or in_one_line(_shorten(message))


def _explain_name(message: str) -> str | None:
    """What jsonargparse says about a class that there is not; None if it is about something else."""
    given = re.search(
        r'Parser key "(model|data|trainer\.(?:callbacks|logger|profiler|plugins|strategy))"'
        r".*Given value: (?:\{'class_path': |NestedArg\(key='class_path', val=)?'?([\w.-]+)",
        message,
        re.S,
    )
    about_names = ("dot import path", "Given value: NestedArg", "has no attribute", "No module named")
    if not given or not any(words in message for words in about_names):
        return None
    group, name = given[1], given[2]
    last = name.rpartition(".")[2]
    if group in ("model", "data"):
        names = _names_of(group)
        others = [*read_catalogue(), *names] if group == "model" else [*DATASETS.values(), *names]
    else:
        # Loaded by now: Lightning's parser has read the option.
        from lit_cnn.commands.trainer_options import REFUSED

        module = sys.modules.get(f"pytorch_lightning.{group.partition('.')[2].removesuffix('s')}s")
        others = sorted(getattr(module, "__all__", []))
        names = [other for other in others if other not in REFUSED]
        meant = difflib.get_close_matches(last, others, n=1)
        if meant and meant[0] in REFUSED and meant[0] != last:
            return f"unknown {group} {name}; {meant[0]} cannot be used: {REFUSED[meant[0]]}"
    if last in others:
        return None
    near = difflib.get_close_matches(last, others, n=1)
    hints = [f"did you mean {near[0]}?"] if near else []
    if names and not (near and group.startswith("trainer")):
        hints.append(f"there are {', '.join(names)}")
    return f"unknown {group} {name}; {' '.join(hints)}" if hints else f"there is no {group} {name}"


def _explain_option(message: str, class_name: str | None) -> str | None:
    """What jsonargparse says about options that there are not, or that are missing; None if it is about something else."""
    option = re.search(r"[Oo]ption '(\S+)' is not accepted|(?:Group '(\S+)' )?does not accept option '(\S+)'", message)
    if option:
        name = option[1] or ".".join(filter(None, option.groups()[1:]))
        group = name.partition(".")[0]
        if class_name is None and group not in COMMAND_OPTIONS:
            name, known = group, list(COMMAND_OPTIONS)
        else:
            known = sorted(options_by_class().get(class_name or _BASES.get(group, ""), ()))
        near = difflib.get_close_matches(name.rpartition(".")[2], known, n=1, cutoff=0.75)
        return f"unknown option {name}; {f'did you mean {near[0]}?' if near else 'lit-cnn fit --help lists the options'}"
    if unread := re.search(r"Unable to load config '(.*?)'|Unexpected config: (.*)", message):
        group = re.match(r'Parser key "([\w.]+)"|([\w.]+):', message)
        name = (group[1] or group[2]) if group else "config"
        return f"{name}: expected settings by name, or a file of them. Got value: {unread[1] or unread[2] or 'nothing'}"
    if flag := re.search(r"argument (--\S+): ignored explicit argument", message):
        return f"{flag[1]} takes no value"
    if missing := re.search(r"the following arguments are required: (.+)", message):
        if set(missing[1].split(", ")) <= {"data", "model"}:
            return "which data and which model? give --config FILE, or --data and --model"
        if missing[1] == "network":
            return "the model names no network: add its class_path, or --model NAME (lit-cnn models lists all)"
        return f"{class_name or 'a class'} needs {missing[1]}, which has no default: add it behind the name of the class"
    return None


def _shorten(message: str) -> str:
    """Leaves out what nobody reads: all settings after a union's reasons, and long lists of choices."""
    before, union, rest = message.partition("Does not validate against any of the Union subtypes")
    if union:
        reasons, _, value = rest.partition("Given value type:")
        given = re.search(r"Given value: ?(.{0,40})$", value, re.M)
        message = in_one_line(before) + " " + _describe_reasons(reasons)
        message = message.strip() + (f". Got value: {given[1] or 'nothing'}" if given and "Got value" not in message else "")
    choices = re.search(r"Expected a typing\.Literal\[(.+)\]\. Got value: (.+)", message)
    names = re.findall(r"'([^']+)'", choices[1]) if choices else []
    if choices and len(names) > 12:
        near = difflib.get_close_matches(choices[2], names, n=3)
        hint = (
            f"did you mean {', '.join(near)}?"
            if near
            else f"{len(names)} names are known, {', '.join(names[:5])} and others"
        )
        message = f"{message[: choices.start()]}there is no {choices[2]}; {hint}"
    if '"trainer.precision"' in message:  # one of names and numbers, of which the parser tells the numbers alone
        from lit_cnn.training.precision import Precision

        message = message.replace("Expected a <class 'int'>", f"expected one of {', '.join(map(str, get_args(Precision)))}")
    message = re.sub(r"Got value:\s*$", "Got value: nothing", message)
    message = re.sub(
        r"Expected a typing\.Literal\[(.+?)\]", lambda match: f"expected one of {match[1].replace(chr(39), '')}", message
    )
    return re.sub(r"Expected an? <class '(?:\w+\.)*(\w+)'>", r"expected \1", message)


def _describe_reasons(reasons: str) -> str:
    """Why none of the types of a setting fits: the reason of the type that was meant, else all types."""
    found = re.findall(r"^ +- (.+(?:\n {6,}(?!- ).+)*)$", reasons, re.M)
    # What a class expects beside its name is explained to programmers.
    about_classes = ("a class path", "a dict ", "Subclass types", "Not a valid subclass", "Does not validate against any")
    found = [reason for reason in dict.fromkeys(found) if "NoneType" not in reason and not reason.startswith(about_classes)]
    found = [re.sub(r"Problem with given class_path '(?:\w+\.)*(\w+)':", r"\1:", reason) for reason in found]
    meant = [reason for reason in found if not reason.startswith("Expected ")]
    if not found:
        return "expected the name of a class, or its class_path and init_args"
    return " or ".join(meant or found)


def in_one_line(message: str) -> str:
    """A message without line breaks, addresses of objects, and characters that would steer the terminal."""
    message = re.sub(r'Parser key "([^"]+)"', r"\1", without_addresses(message))
    message = re.sub(r"\s+- Expected a path but .*? either not accessible or invalid\s+- ", " ", message, flags=re.S)
    message = re.sub(r"[\x00-\x08\x0e-\x1b\x7f-\x9f]", lambda match: repr(match[0])[1:-1], message)
    return " ".join(message.split())


def without_addresses(text: str) -> str:
    """A text in which Python's objects are named by their classes alone, without modules and addresses."""
    text = re.sub(r"<(?:[\w<>]+\.)*(\w+)(?: \w+)* object at 0x[0-9a-fA-F]+>", r"\1", text)
    text = re.sub(r"<(?:function|built-in function|class) '?(?:[\w<>]+\.)*(\w+)'?(?: at 0x\w+)?>", r"\1", text)
    return re.sub(r"<(?:bound|built-in) method (?:\w+\.)*(\w+) of [^<>]*>", r"\1", text)


def _names_of(group: str) -> list[str]:
    known = options_by_class()
    if group == "model":
        return sorted(name for name in known if name.startswith("Lit") and name != "LitClassifier")
    base = known["ImageDataModule"]
    return sorted(
        name
        for name, options in known.items()
        if base <= options and name not in ("ImageDataModule", "DownloadedDataModule", "ImageFiles", "AutoTrainer")
    )


def quiet() -> None:
    """Silences what the user can do nothing about, and prints warnings as this program does."""
    warnings.formatwarning = _format_warning
    # "GPU available", "Tip", "Seed set to 0", "Restoring states from".
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # torch.compile without a GPU, on a machine that has CUDA's compiler.
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    # "Matplotlib is building the font cache".
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    # Lightning 2.6.6 asks torch whether a tree's node is a leaf in a way that torch is about to drop.
    ignore_warnings(r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning)


def _format_warning(message: Warning | str, category: type[Warning], *_: Any) -> str:
    """One line, as errors have it; the place in the sources helps nobody."""
    name = "" if issubclass(category, UserWarning) else f"{category.__name__}: "
    return f"lit-cnn: warning: {name}{in_one_line(str(message))}\n"


def ignore_warnings(pattern: str, category: type[Warning] = UserWarning) -> None:
    """Silences warnings that begin with a pattern."""
    warnings.filterwarnings("ignore", pattern, category)
