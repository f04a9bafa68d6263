"""A small ResNet learns from a large one, in four ways, beside itself on the labels alone.

Two compare scores (Hinton et al. 2015; Zhao et al. 2022), two what is inside (Romero et al. 2015; Zagoruyko & Komodakis 2017). The
control begins with the same weights and trains at the same rate for as many epochs; its labels are smoothed, which is what
distillation without a teacher comes to (Yuan et al. 2020). What the teacher's passes cost is not counted. The usual weight of
attention maps, 1000, is made for a third of this rate and held so small a student back on training pictures that were set aside.
"""
from .. import apply
from .study import Made, Recipe

EPOCHS, RATE, WIDTH = 8, 0.15, 0.25
METHODS = {                                                                        # name -> method, and options of apply.distill
    "KD": ("kd", {"temperature": 4.0}),
    "decoupled KD": ("decoupled", {"temperature": 4.0}),
    "hints": ("hints", {"layers": ["layer2"]}),
    "attention maps": ("attention", {"layers": ["layer1", "layer2", "layer3"], "weight": 30.0}),
}


def distill(bench):
    """resnet_small teaches resnet_small of a quarter of its width, a fifteenth of its MACs."""
    teacher = bench.trained("resnet_small")._replace(name="teacher")
    yield teacher
    student, epochs = bench.build("resnet_small", width_mult=WIDTH), bench.epochs(EPOCHS)
    for name, (method, options) in METHODS.items():
        g = apply.distill(student, teacher.g, bench.images, bench.labels, method=method, epochs=epochs, lr=RATE, **options, **bench.options)
        yield Made(name, g, epochs)
    yield bench.learn(student, "labels alone", EPOCHS, lr=RATE)


CLAIMS = tuple((name, "labels alone", "the student without a teacher") for name in METHODS)

RECIPES = (Recipe("distill", "A quarter of ResNet's width, taught by the whole", distill, CLAIMS),)
