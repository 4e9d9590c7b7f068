"""The prompts that every milestone of the default model paints: one try each, from one seed, none left out."""

SEED = 7
ENGLISH = (
    "a cat", "a dog", "a red fox, 3d style", "an elephant, flat style",
    "a butterfly", "a penguin, noto style", "a whale, gradient style", "a horse",
    "a red apple", "a slice of pizza", "a cup of coffee, 3d style", "a birthday cake",
    "a banana, flat style", "a house", "a car, twemoji style", "a rocket, 3d style",
    "a bicycle", "a sailboat, noto style", "a guitar", "a camera, 3d style",
    "a book", "a key, gradient style", "an umbrella", "a football",
    "a tree", "a sunflower, 3d style", "the sun", "a rainbow",
    "a smiling woman with red hair and glasses", "a man with a beard, lorelei style",
    "a cat to the left of a tree, on a light blue background", "a red heart above a house",
)  # fmt: skip
CHINESE = (
    "一只猫", "一只小狗", "熊猫,3D风格", "狮子,扁平风格",
    "猫头鹰", "一条鱼,noto风格", "蝴蝶,渐变风格", "兔子",
    "西瓜", "汉堡包,3D风格", "面条", "一杯茶",
    "草莓,扁平风格", "火车", "飞机,3D风格", "自行车",
    "医院", "城堡,渐变风格", "电话", "台灯,3D风格",
    "钟", "铅笔", "礼物,3D风格", "足球",
    "玫瑰", "仙人掌,扁平风格", "月亮", "雪人,3D风格",
    "戴眼镜的女孩的肖像", "微笑的老人", "一只狗在房子的右边,绿色背景", "两朵花",
)  # fmt: skip
PROMPTS = (*ENGLISH, *CHINESE)
