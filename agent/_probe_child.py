"""Evaluates a few tokens in a process that may die. Run as a script; uses nothing of the package.

Arguments: the GGUF file, and 1 or 0 for repacked weights. Exit 0: it computes; 3: it computes nonsense; 4: the
library does not know the switch; 5: it cannot load the file. Anything else is the crash that is looked for.
"""

import ctypes
import math
import sys


def main(path: str, extra: bool) -> int:
    import llama_cpp

    silent = llama_cpp.llama_log_callback(lambda _level, _text, _data: None)
    llama_cpp.llama_log_set(silent, ctypes.c_void_p(0))
    llama_cpp.llama_backend_init()
    params = llama_cpp.llama_model_default_params()
    if "use_extra_bufts" not in {name for name, *_ in type(params)._fields_}:
        return 4
    params.use_extra_bufts = extra
    model = llama_cpp.llama_model_load_from_file(path.encode(), params)
    if not model:
        return 5
    settings = llama_cpp.llama_context_default_params()
    settings.n_ctx = settings.n_batch = settings.n_ubatch = 128
    settings.n_threads = settings.n_threads_batch = 2
    context = llama_cpp.llama_init_from_model(model, settings)
    if not context:
        return 5
    size = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))
    for count in (64, 1):  # as a prompt is read, and as an answer is written: the kernels differ
        tokens = (llama_cpp.llama_token * count)(*(7 * i % min(size, 1000) for i in range(count)))
        if llama_cpp.llama_decode(context, llama_cpp.llama_batch_get_one(tokens, count)):
            return 3
        logits = llama_cpp.llama_get_logits_ith(context, -1)
        if not all(math.isfinite(logits[i]) for i in range(size)):
            return 3
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2] == "1"))
